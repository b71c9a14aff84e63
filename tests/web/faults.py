"""Ways in which a store fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests import stores
from tests.world import World


@contextmanager
def unwritable(world: World) -> Iterator[None]:
    """Let no connection write until the block ends."""
    engine = world.wiring.store.engine
    connection = engine.connect()
    if engine.dialect.name == "sqlite":
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.close()  # back to the pool, from where the next session takes it
    else:
        connection.exec_driver_sql("LOCK TABLE token_record, account IN SHARE MODE")
    yield
    connection.close()
    engine.dispose()


def put_out_of_reach(world: World) -> None:
    """Let nobody open the store any more, and let go of the open connections."""
    world.wiring.store.engine.dispose()
    stores.put_out_of_reach(world.wiring.settings.data_dir)


def put_within_reach(world: World) -> None:
    """Let the store be opened again."""
    stores.put_within_reach(world.wiring.settings.data_dir)

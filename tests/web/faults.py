"""Ways in which a store fails."""

from tests.world import World


def make_read_only(world: World) -> None:
    """Let no connection write any more; `engine.dispose()` ends it."""
    connection = world.wiring.store.engine.connect()
    connection.exec_driver_sql("COMMIT")
    connection.exec_driver_sql("PRAGMA query_only = ON")
    connection.close()  # back to the pool, from where the next session takes it


def put_out_of_reach(world: World) -> None:
    """Put something in the store's place that is no file, and let go of the open connections."""
    path = world.wiring.settings.data_dir / "authserver.db"
    world.wiring.store.engine.dispose()
    path.rename(path.with_suffix(".away"))
    path.mkdir()

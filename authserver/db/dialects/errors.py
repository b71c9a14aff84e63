"""What the database drivers raise, in the domain's words."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, exc
from sqlalchemy.exc import DBAPIError

from authserver.core.errors import NotReady, Occupied, StoreFull
from authserver.db.dialects import dialect_of, place_of
from authserver.db.dialects.dialect import BUSY

_FULL = (
    "the store is full: free space on its disk, or delete the oldest records of token requests by "
    "`authserver audit prune`"
)


@contextmanager
def named_errors(bind: Engine | Connection) -> Iterator[None]:
    """Raise NotReady, with what an operator can do, where the database driver gave up.

    The error is Occupied after waiting for another writer, StoreFull where there is no space.
    """
    try:
        yield
    except exc.TimeoutError as error:
        raise NotReady(
            "all connections to the store are in use: raise AUTHSERVER_DATABASE_POOL_SIZE"
        ) from error
    except DBAPIError as error:
        dialect = dialect_of(bind)
        if dialect.is_full(error):
            raise StoreFull(f"{_FULL} ({place_of(bind)}: no space left)") from error
        if (remedy := dialect.remedy(error, bind.engine.url)) is None:
            raise
        raise (Occupied if remedy.startswith(BUSY) else NotReady)(remedy) from error

"""What the database drivers raise, in the domain's words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc
from sqlalchemy.exc import DBAPIError, OperationalError

from authserver.core.errors import NotReady, Occupied, StoreFull

_BUSY = "another writer holds the store: try again"

# SQLSTATE (appendix A of PostgreSQL's manual), and what an operator can do about it.
_REMEDIES = {
    "25006": "the database takes no writes: is it a standby?",
    "40001": _BUSY,
    "40P01": _BUSY,
    "42501": "the database role lacks a right: make it the owner of the database",
    "42703": "the store's schema does not fit: run `authserver db upgrade`",
    "42P01": "the store's schema does not fit: run `authserver db upgrade`",
    "55P03": _BUSY,
    "57014": "the store took too long to answer",
}

_FULL = (
    "the store is full: free space on its disk, or delete the oldest records of token requests by "
    "`authserver audit prune`"
)
# Without room for the index of its log, or beyond a quota, SQLite speaks of input and output.
_FULL_CODES = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}
_FULL_STATE = "53100"


@contextmanager
def named_errors() -> Iterator[None]:
    """Raise NotReady, with what an operator can do, where the database driver gave up.

    It is Occupied where another writer was waited for, StoreFull where there is no space.
    """
    try:
        yield
    except exc.TimeoutError as error:
        raise NotReady(
            "all connections to the store are in use: raise AUTHSERVER_DATABASE_POOL_SIZE"
        ) from error
    except DBAPIError as error:
        if _is_full(error):
            raise StoreFull(_FULL) from error
        if (named := _named(error)) is None:
            raise
        raise (Occupied if named.startswith(_BUSY) else NotReady)(named) from error


def _is_full(error: DBAPIError) -> bool:
    of_sqlite = getattr(error.orig, "sqlite_errorcode", None)
    return of_sqlite in _FULL_CODES or getattr(error.orig, "sqlstate", None) == _FULL_STATE


def _named(error: DBAPIError) -> str | None:
    """Return what to say, None if it is a fault of this program's."""
    if hasattr(error.orig, "sqlstate"):
        return _named_by_postgresql(error)
    if isinstance(error, OperationalError):
        return _BUSY if "locked" in str(error.orig) else f"the store cannot be used: {error.orig}"
    # What has no class of its own there says that the file is damaged, or no database.
    if type(error.orig) is sqlite3.DatabaseError:
        return f"the store is damaged: {error.orig}; restore a backup"
    return None


def _named_by_postgresql(error: DBAPIError) -> str | None:
    state: str | None = getattr(error.orig, "sqlstate", None)
    # The first line: what follows may hold rows, or where else it was tried.
    said = str(error.orig).partition("\n")[0]
    if state in _REMEDIES:
        return f"{_REMEDIES[state]} ({said})"
    if state is None and not error.connection_invalidated and error.statement is None:
        return f"the store cannot be reached: {said}; see AUTHSERVER_DATABASE_URL"
    if isinstance(error, OperationalError):
        return f"the store cannot be used: {said}"
    return None

"""What differs between database engines: connecting, errors, types, bulk writes, row ids, space.

Used by the rest of ``db`` and by migrations. It knows no noun of the domain. An engine is one
:class:`StoreDialect` in a file of its own, and an entry in the table here. Its column types are in
``types``, the form of its URLs in ``runtime.settings``.
"""

from functools import cache
from importlib import import_module

from sqlalchemy import Connection, Engine

from authserver.db.dialects.dialect import StoreDialect

# Only the engine that is used is imported.
_MODULES = {
    "postgresql": "authserver.db.dialects.postgresql",
    "sqlite": "authserver.db.dialects.sqlite",
}


@cache
def dialect(name: str) -> StoreDialect:
    """Return the dialect of that name, as URLs begin with it."""
    found: StoreDialect = import_module(_MODULES[name]).DIALECT
    return found


def dialect_of(bind: Engine | Connection) -> StoreDialect:
    """Return the dialect of an engine or a connection."""
    return dialect(bind.dialect.name)


def place_of(bind: Engine | Connection) -> str:
    """Return the store with its place, for a message."""
    return dialect_of(bind).place(bind.engine.url)

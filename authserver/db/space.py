"""Space: how much records of token requests take, how much is free, and a reserve for a full disk.

Used by the capacity check of ``audit`` and by ``audit prune``.
"""

from authserver.db.dialects import dialect_of
from authserver.db.dialects.dialect import Reserve, Space
from authserver.db.dialects.errors import named_errors
from authserver.db.models import TokenRecord
from authserver.db.store import Store

_TABLE = TokenRecord.__tablename__


def measured(store: Store, records: int) -> Space:
    """Return the space of a store that has so many records of token requests."""
    with store.read() as session:
        return dialect_of(store.engine).measure(session, _TABLE, records)


def reclaim(store: Store) -> None:
    """Make the space that deleted records took usable again.

    Raises:
        NotReady: the store cannot be used, or is full.
    """
    store.require_there()
    with named_errors(store.engine):
        dialect_of(store.engine).reclaim(store.engine, _TABLE)


def reserve_of(store: Store) -> Reserve:
    """Return the reserve of a store."""
    return dialect_of(store.engine).reserve(store.engine)

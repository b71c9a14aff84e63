"""How much space records take, how much there is, and having it used again."""

from dataclasses import dataclass
from os import statvfs
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from authserver.db.dialects.errors import named_errors
from authserver.db.models import TokenRecord
from authserver.db.store import Store

# What a row and its entries in two indexes take in PostgreSQL beside its values.
ROW_TAKES = 64
SAMPLED_PAGES = 50
RECLAIM_ENDS = 30
"""Seconds after which VACUUM is given up: whoever waits for it has changes to read."""

_TABLE = TokenRecord.__tablename__
_SAMPLE = text(
    "SELECT avg(pg_column_size(record.*)) FROM token_record AS record TABLESAMPLE SYSTEM (:percent)"
)


@dataclass(frozen=True, slots=True)
class Space:
    """In bytes: what records of token requests take, and what is free, None if that is not known.

    Of an embedded store all is ``used`` that is in it; what is free within its file is ``free``.
    """

    used: int
    free: int | None


def measured(store: Store, records: int) -> Space:
    """Return the space of a store that has so many records of token requests."""
    with store.read() as session:
        if store.file is None:
            return Space(round(records * _average(session)), None)
        pages, unused, size = (
            session.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
    return Space((pages - unused) * size, unused * size + disk_free(store.file))


def disk_free(path: Path) -> int:
    """Return how many bytes this user may still write to the disk of ``path``."""
    disk = statvfs(path)
    return disk.f_bavail * disk.f_frsize


def _average(session: Session) -> float:
    """Return about how many bytes a record takes: of a table's size much may be free."""
    pages = session.scalar(
        text("SELECT relpages FROM pg_class WHERE oid = to_regclass(:table)"), {"table": _TABLE}
    )
    percent = min(100.0, 100.0 * SAMPLED_PAGES / max(1, pages or 0))
    found = session.scalar(_SAMPLE, {"percent": percent})
    return float(found or 0) + ROW_TAKES


def reclaim(store: Store) -> None:
    """Have the store use the space again that deleted records took.

    Raises:
        NotReady: the store cannot be used, or is full.
    """
    if store.file is not None:
        # Its log keeps its size: where the disk is full that is space to write to.
        store.checkpoint("RESTART")
        return
    engine = store.engine.execution_options(isolation_level="AUTOCOMMIT")
    with named_errors(), engine.connect() as connection:
        _vacuum(connection)


def _vacuum(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET statement_timeout = '{RECLAIM_ENDS}s'")
    try:
        connection.exec_driver_sql(f"VACUUM {_TABLE}")
    finally:
        connection.exec_driver_sql("RESET statement_timeout")

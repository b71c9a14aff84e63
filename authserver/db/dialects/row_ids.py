"""Row ids in migrations: an id that is given out again would inherit rights."""

from contextlib import AbstractContextManager

from sqlalchemy import Connection

from authserver.db.dialects import dialect_of

NO_ID_TWICE = {"sqlite_autoincrement": True}
"""How a migration makes an SQLite table anew."""


def highest_ids_kept(connection: Connection) -> AbstractContextManager[None]:
    """Remember the highest id that each table ever had, also where the table is made anew."""
    return dialect_of(connection).highest_ids_kept(connection)

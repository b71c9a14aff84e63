"""For migrations: changing an SQLite table means making it anew."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

# A table that is made anew must keep it: an id that is given out again would inherit.
NO_ID_TWICE = {"sqlite_autoincrement": True}


@contextmanager
def highest_ids_kept(connection: Connection) -> Iterator[None]:
    """Have SQLite remember the highest id that a table ever had, also where it is made anew."""
    if connection.dialect.name != "sqlite":
        yield
        return
    highest = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all()
    yield
    for name, seq in highest:
        # A table without rows has lost its entry.
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
        connection.exec_driver_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, seq))

"""Row ids on each dialect: none is given out again, wherever the rows go.

Migrations use the part that makes an SQLite table anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, func, text

# Materialized: else it is the planner's choice which tables are asked for their sequence, and of
# one without the column that is an error.
_POSTGRESQL = text("""
    WITH numbered AS MATERIALIZED (
        SELECT table_name FROM information_schema.columns
        WHERE table_schema = current_schema() AND column_name = 'id'
    )
    SELECT table_name, pg_sequence_last_value(
        pg_get_serial_sequence(quote_ident(table_name), 'id')::regclass)
    FROM numbered
    WHERE pg_get_serial_sequence(quote_ident(table_name), 'id') IS NOT NULL
""")

# A table that is made anew must keep it: an id that is given out again would inherit.
NO_ID_TWICE = {"sqlite_autoincrement": True}


def highest_ids(connection: Connection) -> dict[str, int]:
    """Return the highest id that each table ever gave out, also of rows that are gone."""
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")
    else:
        found = connection.execute(_POSTGRESQL)
    return {name: highest for name, highest in found if highest}


def number_on(table: str, connection: Connection, highest: int) -> None:
    """Have a table's next row get a higher id than any that there ever was."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        connection.exec_driver_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, highest))
    else:
        connection.scalar(func.setval(func.pg_get_serial_sequence(table, "id"), highest))


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

"""Column types that each engine needs in a form of its own; for models and migrations."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Integer, String
from sqlalchemy.types import TypeEngine

# SQLite's INTEGER has 64 bits already, and it numbers the rows of no other type.
INT64: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
"""A whole number; as a primary key the database numbers it."""

TIME: TypeEngine[datetime] = DateTime(timezone=True)
"""A time with microseconds. SQLite keeps no zone: times are stored in UTC."""


def sorted_text(length: int) -> TypeEngine[str]:
    """Return the type of a text that lists are ordered by: by code point, as SQLite orders it.

    In the database's own language each machine would have another order, and an index breaks when
    the operating system changes its rules for that language.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")

"""Column types that are the same to us and not to each database; for models and migrations."""

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.types import TypeEngine

# SQLite's INTEGER has 64 bits already, and it numbers the rows of no other type.
INT64: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
"""A whole number; as a primary key it is given out by the database."""


def sorted_text(length: int) -> TypeEngine[str]:
    """Return the type of a text that lists are ordered by: by code point, as SQLite does it.

    In the database's own language lists would be in another order on each machine, and an index
    that follows a language breaks when the operating system's view of that language changes.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")

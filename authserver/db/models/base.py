"""The types of columns that all tables share, and the names of constraints."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Dialect, LargeBinary, MetaData, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase

from authserver.core.conditions import Conditions
from authserver.core.errors import NotReady, Refused
from authserver.db.dialects.types import INT64, TIME


class UTCDateTime(TypeDecorator[datetime]):
    """An aware time, stored and returned in UTC; a naive time is a programming error."""

    impl = TIME
    cache_ok = True
    python_type = datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value and (value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC))


class TextLines(TypeDecorator[list[str]]):
    """Short texts without line ends, one a line: unlike JSON, equal lists are equal texts."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else "\n".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[str] | None:  # noqa: ARG002
        return None if value is None else value.splitlines()


class StoredConditions(TypeDecorator[Conditions]):
    """The conditions of a rule as JSON with sorted keys: equal conditions are equal texts.

    PostgreSQL compares no two values of its type ``json``.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Conditions | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else value.dump()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Conditions | None:  # noqa: ARG002
        if value is None:
            return None
        try:
            return Conditions.load(value)
        except Refused as error:
            why = f"a rule cannot be read; perhaps a later version wrote it: {error}"
            raise NotReady(why) from error


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: UTCDateTime,
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        list[dict[str, str]]: JSON(none_as_null=True),
        int: INT64,
        str: String(255),
        bytes: LargeBinary,
    }

"""A whole store as records that say the same on each engine, and a store from such records.

Tables are taken as the database has them, not as this version's models do: what an older version
wrote can be read, and is then upgraded.
"""

from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, MetaData, Table, func, insert, inspect, select
from sqlalchemy.exc import InternalError, OperationalError, StatementError

from authserver.core.commands import program
from authserver.core.errors import NotReady, Refused
from authserver.core.times import parse_time
from authserver.db import schema
from authserver.db.dialects import dialect_of, place_of
from authserver.db.dialects.unreadable_rows import MAX_NUMBER, UNREADABLE, is_of_a_value

FORMAT = "authserver backup"
VERSION = 1

_BATCH = 500
_OWN = "alembic_version"

Record = dict[str, Any]


@dataclass(frozen=True)
class Header:
    """What is said of a dump before its rows: by its schema's revision it can be read."""

    at: datetime
    program: str
    revision: str
    rows: Mapping[str, int]
    highest: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.rows.values())

    def record(self) -> Record:
        return {
            "format": FORMAT,
            "version": VERSION,
            "at": self.at.isoformat(),
            "program": self.program,
            "revision": self.revision,
            "rows": dict(self.rows),
            "highest": dict(self.highest),
        }

    @classmethod
    def read(cls, record: Record) -> "Header":
        """Return the header that a first record is.

        Raises:
            Refused: the record is no header, is damaged, or is of a later version.
        """
        if record.get("format") != FORMAT:
            raise Refused("it is no backup of authserver")
        if record.get("version") != VERSION:
            raise Refused(
                f"it is of the format's version {record.get('version')}, and this authserver reads "
                f"version {VERSION}: take the authserver that wrote it, {record.get('program')}"
            )
        match record:
            case {
                "at": str(at),
                "program": str(program),
                "revision": str(revision),
                "rows": dict(rows),
                "highest": dict(highest),
            } if all(map(_is_count, (*rows.values(), *highest.values()))):
                return cls(parse_time(at), program, revision, rows, highest)
        raise Refused("it is damaged: its first line does not say what a backup's does")


def header(
    connection: Connection, at: datetime, program: str, without: Collection[str] = ()
) -> Header:
    """Return what there is to dump; of the tables ``without`` no row is taken.

    Raises:
        Refused: there is nothing.
    """
    schema.require_not_newer(connection)
    revision = schema.current(connection)
    if revision is None:
        raise Refused(f"{place_of(connection)} is not set up: there is nothing to back up")
    counts = {
        table.name: 0 if table.name in without else _count(table, connection)
        for table in _tables(connection)
    }
    return Header(at, program, revision, counts, dialect_of(connection).highest_ids(connection))


def dump(connection: Connection, told: Header) -> Iterator[Record]:
    """Give the records of a store, the header first; one transaction must hold meanwhile.

    Raises:
        NotReady: somebody left in a row what cannot be read.
    """
    yield told.record()
    for table in _tables(connection):
        if not told.rows[table.name]:
            continue
        try:
            found = connection.execute(_in_order(table), execution_options={"yield_per": _BATCH})
            for rows in found.partitions():
                yield {"table": table.name, "rows": [list(map(_told, row)) for row in rows]}
        except UNREADABLE as error:
            if not is_of_a_value(error):
                raise
            raise NotReady(
                f"a row of {table.name} holds a value that cannot be read: "
                f"run `{program()} audit verify`"
            ) from error
    yield {"end": told.total}


def load(connection: Connection, told: Header, records: Iterator[Record]) -> Iterator[int]:
    """Fill an empty store whose schema is at the header's revision; give how many rows came.

    Raises:
        Refused: the records end too early or too late, or do not fit.
    """
    tables = {table.name: table for table in _tables(connection)}
    done = 0
    for record in records:
        if "end" in record:
            break
        name, rows = record.get("table"), record.get("rows")
        with _kept(f"rows of {name}"):
            table = tables[str(name)]
            connection.execute(insert(table), _rows(table, rows))
        done += len(rows or ())
        if done > told.total:
            break
        yield done
    # Only at its very end a compressed file shows whether it is whole.
    if next(records, None) is not None:
        raise Refused("it goes on after its end")
    if done != told.total:
        raise Refused(f"it ends after {done} of {told.total} rows")
    for name, highest in told.highest.items():
        with _kept(f"the highest id of {name}"):
            dialect_of(connection).continue_ids(connection, tables[name].name, highest)


@contextmanager
def _kept(what: str) -> Iterator[None]:
    """Refuse what a database does not take, or takes for something else."""
    try:
        yield
    except (StatementError, *UNREADABLE, LookupError) as error:
        if isinstance(error, OperationalError | InternalError):
            raise
        raise Refused(f"{what} cannot be kept: {_first(error)}") from error


def _is_count(number: object) -> bool:
    return type(number) is int and 0 <= number <= MAX_NUMBER


def _tables(connection: Connection) -> Iterator[Table]:
    """Give the tables, each after those that it refers to."""
    inspector, metadata = inspect(connection), MetaData()
    for name, _ in inspector.get_sorted_table_and_fkc_names():
        if name is not None and name != _OWN:
            keys = inspector.get_pk_constraint(name)["constrained_columns"]
            yield Table(
                name,
                metadata,
                *(
                    Column(
                        found["name"],
                        # An absent value is the database's own NULL.
                        JSON(none_as_null=True)
                        if isinstance(found["type"], JSON)
                        else found["type"],
                        primary_key=found["name"] in keys,
                        autoincrement=False,
                    )
                    for found in inspector.get_columns(name)
                ),
                info={"to_itself": _to_itself(inspector.get_foreign_keys(name), name)},
            )


def _to_itself(foreign: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    return [
        column
        for key in foreign
        if key["referred_table"] == name
        for column in key["constrained_columns"]
    ]


def _in_order(table: Table) -> Any:  # noqa: ANN401 - a select of whatever columns there are
    """Read a table so that no row comes before one of its own table that it names."""
    first = (table.c[name].is_not(None) for name in table.info["to_itself"])
    return select(table).order_by(*first, *table.primary_key)


def _count(table: Table, connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _told(value: object) -> object:
    """Return a value as JSON; what JSON has no type for is an object with one name."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return {"time": aware.astimezone(UTC).isoformat()}
    if isinstance(value, bytes):
        return {"bytes": b64encode(value).decode()}
    return {"json": value} if isinstance(value, dict | list) else value


def _rows(table: Table, rows: object) -> list[dict[str, object]]:
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise ValueError("there are no rows")
    names = [column.name for column in table.columns]
    return [dict(zip(names, map(_meant, row), strict=True)) for row in rows]


def _meant(told: object) -> object:
    match told:
        case {"time": str(text)}:
            return datetime.fromisoformat(text)
        case {"bytes": str(text)}:
            return b64decode(text, validate=True)
        case {"json": value}:
            return value
    return told


def _first(error: Exception) -> str:
    return str(getattr(error, "orig", error)).partition("\n")[0]

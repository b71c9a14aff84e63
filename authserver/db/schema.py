"""The schema's revision, and migrations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.orm import Session

from authserver.core.commands import program
from authserver.core.errors import NotReady, Refused
from authserver.db.dialects import dialect_of, place_of
from authserver.db.dialects.dialect import WRITE
from authserver.db.dialects.errors import named_errors
from authserver.db.models import StoreStateRow
from authserver.db.store import BUSY_TIMEOUT

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic is imported only where a schema is changed; each start only reads the revision.

CHAINS = "0006"
"""The revision that brought the audit chains."""

CLOSED_CHAINS = "0009"
"""The revision from which on faults in them are not accepted, but chains closed."""

_ROOM = Path(__file__).resolve().parent


def migrations() -> Path:
    """Return the directory of the migrations: in an installed package, or in a checkout."""
    installed = _ROOM / "migrations"
    return installed if installed.is_dir() else _ROOM.parent.parent / "migrations"


def config(connection: Connection) -> "Config":
    """Return an Alembic configuration that works on ``connection``."""
    from alembic.config import Config  # noqa: PLC0415

    configured = Config()
    configured.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    configured.attributes["connection"] = connection
    return configured


@cache
def revisions() -> tuple[str, ...]:
    """Return every revision in order: the numbers with which the migrations' file names begin."""
    files = (migrations() / "versions").glob("[0-9]*_*.py")
    return tuple(sorted(file.name.partition("_")[0] for file in files))


def head() -> str:
    """Return the revision that this version of the program works with."""
    return revisions()[-1]


def has_no_chains(revision: str | None) -> bool:
    """Whether a store at that revision is older than audit chains."""
    return revision in revisions() and str(revision) < CHAINS


def has_no_closed_chains(revision: str | None) -> bool:
    """Whether a store at that revision has audit chains whose faults may have been accepted."""
    return revision in revisions() and CHAINS <= str(revision) < CLOSED_CHAINS


def current(connection: Connection) -> str | None:
    """Return the revision that the store is at, None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    at: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return at


def upgrade(engine: Engine) -> tuple[str | None, str | None]:
    """Bring the store to head in one transaction; return the revisions before and after.

    Raises:
        NotReady: a row would name another that does not exist; nothing was changed.
    """
    from alembic import command  # noqa: PLC0415

    return migrate(engine, lambda configured: command.upgrade(configured, "head"))


def migrate(engine: Engine, run: Callable[["Config"], None]) -> tuple[str | None, str | None]:
    """Run a migration in one transaction; return the revisions before and after."""
    with migrating(engine) as connection:
        before = current(connection)
        run(config(connection))
        return before, current(connection)


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """Give a transaction in which the schema may be changed; others wait for it.

    Raises:
        NotReady: at the end a row would name another that does not exist; nothing was changed.
    """
    write = engine.execution_options(**{WRITE: BUSY_TIMEOUT})
    with (
        named_errors(engine),
        write.connect() as connection,
        dialect_of(connection).migrating(connection, BUSY_TIMEOUT),
    ):
        require_not_newer(connection)
        yield connection


@contextmanager
def restoring(engine: Engine, revision: str) -> Iterator[Connection]:
    """Give a transaction in a new store whose schema is at ``revision``.

    Raises:
        Refused: there is a store already, or the revision is of a later version.
        NotReady: at the end a row would name another that does not exist; nothing was changed.
    """
    from alembic import command  # noqa: PLC0415

    with migrating(engine) as connection:
        if inspect(connection).get_table_names():
            raise Refused(
                "there is a store already, and it was not touched: restore into a new one"
            )
        if revision not in revisions():
            raise Refused(f"its schema {revision} is newer than this version: upgrade authserver")
        command.upgrade(config(connection), revision)
        yield connection


def to_head(connection: Connection) -> None:
    """Bring the schema to head, within the transaction of ``connection``."""
    from alembic import command  # noqa: PLC0415

    command.upgrade(config(connection), "head")


@contextmanager
def alone(engine: Engine) -> Iterator[None]:
    """Take the set-up lock of the database, which holds on all machines.

    Raises:
        NotReady: the database cannot be reached, or another process took too long.
    """
    with named_errors(engine), engine.begin() as connection:
        dialect_of(connection).lock_set_up(connection)
        yield


def require_head(connection: Connection) -> None:
    """Check that the store has the schema of this program.

    Raises:
        NotReady: the store is empty, behind, or ahead; the message names the command that helps.
    """
    at, wanted = current(connection), head()
    if at == wanted:
        return
    if at is None:
        tables = inspect(connection).get_table_names()
        remedy = f"run `{program()} db upgrade`" if tables else f"run `{program()} init`"
        raise NotReady(f"{place_of(connection)} is not set up: {remedy}")
    require_not_newer(connection)
    raise NotReady(
        f"{place_of(connection)} has the schema {at}, and this version needs {wanted}: "
        f"run `{program()} db upgrade`"
    )


def require_not_newer(connection: Connection) -> None:
    """Check that this program knows the store's schema.

    Raises:
        NotReady: a later version made it.
    """
    at = current(connection)
    if at is not None and at not in revisions():
        raise NotReady(
            f"{place_of(connection)} has the schema {at}, which is newer than this version: "
            "upgrade authserver"
        )


def require_initialised(session: Session) -> None:
    """Check that ``authserver init`` has run to its end.

    Raises:
        NotReady: it has not.
    """
    if session.get(StoreStateRow, 1) is None:
        place = place_of(session.connection())
        raise NotReady(f"{place} is not set up: run `{program()} init`")

"""The schema: whether it is at head, and bringing it there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from authserver.core.errors import NotReady, Refused
from authserver.db import postgresql
from authserver.db.failures import named_errors
from authserver.db.store import BUSY_TIMEOUT

_PACKAGE = Path(__file__).resolve().parent.parent


def migrations() -> Path:
    """Return the directory of the migrations: in an installed package, or in a checkout."""
    installed = _PACKAGE / "migrations"
    return installed if installed.is_dir() else _PACKAGE.parent / "migrations"


def config(connection: Connection) -> Config:
    """Return an Alembic configuration that works on ``connection``."""
    configured = _located()
    configured.attributes["connection"] = connection
    return configured


@cache
def head() -> str | None:
    """Return the revision that this version of the program works with."""
    return _scripts().get_current_head()


def current(connection: Connection) -> str | None:
    """Return the revision that the store is at, None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> tuple[str | None, str | None]:
    """Bring the store to head in one transaction; return the revisions before and after.

    Raises:
        NotReady: afterwards a row would name another that is not there; nothing was changed.
    """
    return migrate(engine, lambda configured: command.upgrade(configured, "head"))


def migrate(engine: Engine, run: Callable[[Config], None]) -> tuple[str | None, str | None]:
    """Run a migration in one transaction; return the revisions before and after."""
    with migrating(engine) as connection:
        before = current(connection)
        run(config(connection))
        return before, current(connection)


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """Give a transaction in which the schema may be changed; others wait for it.

    Raises:
        NotReady: at the end a row would name another that is not there; nothing was changed.
    """
    write = engine.execution_options(authserver_write=BUSY_TIMEOUT)
    with (
        named_errors(),
        write.connect() as connection,
        _foreign_keys_last(connection),
        connection.begin(),
    ):
        if connection.dialect.name == "sqlite":
            yield connection
            _check_foreign_keys(connection)
        else:
            postgresql.upgrade_alone(connection, BUSY_TIMEOUT)
            yield connection


@contextmanager
def restoring(engine: Engine, revision: str) -> Iterator[Connection]:
    """Give a transaction in a new store whose schema is at ``revision``.

    Raises:
        Refused: there is a store already, or the revision is of a later version.
        NotReady: at the end a row would name another that is not there; nothing was changed.
    """
    with migrating(engine) as connection:
        if inspect(connection).get_table_names():
            raise Refused(
                "there is a store already, and it was not touched: restore into a new one"
            )
        if revision not in _revisions():
            raise Refused(f"its schema {revision} is newer than this version: upgrade authserver")
        command.upgrade(config(connection), revision)
        yield connection


def to_head(connection: Connection) -> None:
    """Bring the schema to head, within the transaction of ``connection``."""
    command.upgrade(config(connection), "head")


@contextmanager
def alone(engine: Engine) -> Iterator[None]:
    """Let one process at a time set up what is in a database, on whatever machine.

    Raises:
        NotReady: the database cannot be reached, or another process took too long.
    """
    with named_errors(), engine.begin() as connection:
        postgresql.set_up_alone(connection)
        yield


@contextmanager
def _foreign_keys_last(connection: Connection) -> Iterator[None]:
    """Have SQLite check foreign keys at the end only: a table is changed by making it anew."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.dbapi_connection
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _check_foreign_keys(connection: Connection) -> None:
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        raise NotReady(f"the upgrade would leave {len(broken)} rows that name what is not there")


def require_head(connection: Connection) -> None:
    """Check that the program and the store fit.

    Raises:
        NotReady: the store is empty, behind, or ahead; the message names the command that helps.
    """
    at, wanted = current(connection), head()
    if at == wanted:
        return
    if at is None:
        tables = inspect(connection).get_table_names()
        remedy = "run `authserver db upgrade`" if tables else "run `authserver init`"
        raise NotReady(f"the store is not set up: {remedy}")
    if at in _revisions():
        raise NotReady(
            f"the store's schema is at {at} and this version needs {wanted}: "
            "run `authserver db upgrade`"
        )
    raise NotReady(f"the store's schema {at} is newer than this version of authserver: upgrade it")


def _revisions() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_located())


def _located() -> Config:
    located = Config()
    located.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    return located

"""PostgreSQL: how it is connected to, and what its transactions begin with."""

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text

from authserver.runtime.settings import Pool

# Seconds. What hangs in a transaction would hold up every change; what asks for too long, a worker.
STATEMENT_ENDS = 60
IDLE_ENDS = 60
# A connection is made anew after that, so that a pool spreads over what is behind one name.
RECYCLED = 1800

UPGRADE_WAITS = 600.0
"""Seconds for which one upgrade waits for another."""

ONE_STATE: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""The options of a transaction that sees one state and writes nothing."""

# Advisory locks are numbers that all who use a database agree on. These were drawn.
_UPGRADING = 4_926_115_700_837_219_001
_SETTING_UP = 4_926_115_700_837_219_002


def open_engine(url: URL, pool: Pool) -> Engine:
    """Return an engine; connects on first use."""
    engine = create_engine(
        url.set(query=_options(pool) | dict(url.query)),
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=pool.size,
        max_overflow=0,
        pool_timeout=pool.timeout,
        pool_recycle=RECYCLED,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _tell_times_in_utc)
    return engine


def _tell_times_in_utc(connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's own
    """Have times told in UTC: of one at either end of all years another zone may make none.

    Among the options, a URL or a pooler could leave it out.
    """
    connection.execute("SET TIME ZONE 'UTC'")
    connection.commit()


def _options(pool: Pool) -> dict[str, str]:
    """Return libpq's parameters, below those that the URL has."""
    return {
        "application_name": "authserver",
        "connect_timeout": str(pool.connect_timeout),
        # A peer that is gone without a word is noticed within about ten seconds.
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "10000",
        "options": f"-c statement_timeout={STATEMENT_ENDS}s "
        f"-c idle_in_transaction_session_timeout={IDLE_ENDS}s",
    }


def wait_at_most(connection: Connection, seconds: float) -> None:
    """Have this transaction give up where it waits for another for that long."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, int(seconds * 1000))}")


def upgrade_alone(connection: Connection, wait: float) -> None:
    """Let one transaction at a time change the schema, in its own time.

    It waits for another upgrade; then, for each table, at most ``wait`` seconds for its users.
    """
    _lock(connection, _UPGRADING)
    wait_at_most(connection, wait)


def set_up_alone(connection: Connection) -> None:
    """Let one transaction at a time go on from here; it waits for another."""
    _lock(connection, _SETTING_UP)


def _lock(connection: Connection, number: int) -> None:
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    wait_at_most(connection, UPGRADE_WAITS)
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

"""The rows of the table: what is sent to which installation."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from authserver.core.rules import Effect, new_rule
from authserver.core.subjects import subjects
from authserver.db import rules
from bench.installation import PASSWORD, SERVICE, Installation, log_in
from bench.wrk import Request

SMALL, COLD, POSTGRESQL = "small", "cold", "PostgreSQL"
LOGINS = 8
EACH_BY_BCRYPT = {
    "AUTHSERVER_REMEMBER_PASSWORDS": "0",
    "AUTHSERVER_FAILURES_PER_ADDRESS": "1000000",
    "AUTHSERVER_FAILURES_PER_ACCOUNT": "1000000",
}
"""Settings of COLD: no password is remembered, and no wrong one is refused unread."""

Making = Callable[[Installation], Request]


@dataclass(frozen=True)
class Measurement:
    """One row: what is sent to which installation (``on``).

    ``connections`` are opened for each core. ``beside`` is another load at the same time;
    ``changing`` has a rule written every second. It takes ``times`` as long as other rows: those
    with bcrypt, of which what was begun before counts at neither end.
    """

    name: str
    making: Making
    on: str = SMALL
    connections: int = 8
    beside: Making | None = None
    changing: bool = False
    times: int = 1


def anonymous(number: int = 1) -> Making:
    """Return a pull of so many repositories by nobody in particular."""
    scopes = "".join(f"&scope=repository:public/app{n}:pull" for n in range(number))
    return lambda _: Request(f"service={SERVICE}{scopes}")


def app_token(installation: Installation) -> Request:
    return Request(installation.push(), installation.basic(installation.app_token))


def another_each_time(installation: Installation) -> Request:
    """Return a push to a repository that nobody has asked for before."""
    return Request(installation.push("team/app{n}"), installation.basic(installation.app_token))


def password(installation: Installation) -> Request:
    """Return a push by the password, after each worker has most probably verified it."""
    for _ in range(LOGINS):
        log_in(installation)
    return Request(installation.push(), installation.basic(PASSWORD))


def cold_password(installation: Installation) -> Request:
    """Return a pull by another account each time: equal passwords are checked once for all."""
    names = (f"user{n}" for n in range(10))
    return Request(
        installation.pull(),
        by_turns=[installation.basic(PASSWORD, name)["Authorization"] for name in names],
    )


def wrong_password(installation: Installation) -> Request:
    """Return a push by another wrong password each time."""
    wrong = (f"wrong {n}" for n in range(100))
    return Request(
        installation.push(), by_turns=[installation.basic(one)["Authorization"] for one in wrong]
    )


def refresh(installation: Installation) -> Request:
    form = f"grant_type=refresh_token&client_id=bench&refresh_token={log_in(installation)}"
    return Request(form=f"{form}&{installation.push()}")


ROWS = (
    Measurement("anonymous pull", anonymous()),
    Measurement("app token", app_token),
    Measurement("app token, another repository each time", another_each_time),
    Measurement("password remembered", password),
    Measurement("refresh grant", refresh),
    Measurement("10 scopes", anonymous(10)),
    Measurement("50 scopes", anonymous(50)),
    Measurement("wrong password", wrong_password, COLD, connections=1, times=4),
    Measurement("password cold", cold_password, COLD, connections=1, beside=app_token, times=4),
)


ON_POSTGRESQL = Measurement("app token, on PostgreSQL", app_token, POSTGRESQL)


def all_rows(sizes: Iterable[str], large: str) -> Iterator[Measurement]:
    """Give the rows, each before those that are held against it: what others do changes fast.

    ``sizes`` are the installations of other sizes; while app tokens are used in the ``large`` one
    a rule is changed every second.
    """
    for row in ROWS:
        yield row
        if row.making is app_token:
            yield ON_POSTGRESQL
        if row.making in (app_token, another_each_time):
            yield from (replace(row, name=f"{row.name}, {size}", on=size) for size in sizes)
        if row.making is app_token:
            changed = f"{row.name}, {large}, a rule changed every second"
            yield replace(row, name=changed, on=large, changing=True)


@contextmanager
def changing(installation: Installation) -> Iterator[None]:
    """Write a rule and remove it, every second by turns, until the block ends."""
    ended = threading.Event()
    store = installation.store()

    def change_each_second() -> None:
        said = new_rule(Effect.ALLOW, subjects("user:user0"), ["bench/changing"], "pull")
        while not ended.wait(1.0):
            with store.change("bench") as change:
                there = rules.same(change.session, said)
                if there is None:
                    rules.add(change, said)
                else:
                    rules.delete(change, there)

    thread = threading.Thread(target=change_each_second)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        store.engine.dispose()

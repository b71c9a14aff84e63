"""Wrong passwords from one address on many connections, and what others notice of them."""

import http.client
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.installation import PASSWORD, SERVICE, Installation, Server
from bench.rows import app_token
from bench.wrk import Load, Request, Wrk, finished

CONNECTIONS = 64
ELSEWHERE = "127.0.0.2"
LOGINS = 8
"""How many people log in meanwhile; each has an account that nobody has used yet."""

PATIENCE = 30.0


@dataclass(frozen=True)
class Flood:
    """What became of the others: ``kept`` is the rate of app tokens in relation to that without.

    ``resident`` is the memory of the largest worker before, with each login and at the end,
    ``logins`` how many seconds each login took, ``refused`` how many of them failed.
    """

    kept: float
    resident: tuple[int, ...]
    logins: tuple[float, ...]
    refused: int
    tries: int

    @property
    def grown(self) -> int:
        """Return by how many bytes the worker grew in the second half."""
        return self.resident[-1] - self.resident[len(self.resident) // 2]


def flood(server: Server, directory: Path, seconds: int) -> Flood:
    """Guess passwords for some seconds, while an app token is used and people log in."""
    installation = server.installation
    wrk = Wrk(installation.url, directory)
    alone = finished(wrk.start(app_token(installation), 5, 8 * machine.cores()))
    resident = [server.resident()]
    guessing = wrk.start(guess(), seconds, CONNECTIONS)
    used = wrk.start(app_token(installation), seconds, 8 * machine.cores())
    answers = []
    for answer in logins(installation, installation.port, seconds):
        answers.append(answer)
        resident.append(server.resident())
    guessed, beside = finished(guessing), finished(used)
    return Flood(
        kept=_good(beside, seconds) / _good(alone, 5),
        resident=(*resident, server.resident()),
        logins=tuple(took for took, _ in answers),
        refused=sum(status != http.HTTPStatus.OK for _, status in answers),
        tries=guessed.requests,
    )


def guess() -> Request:
    """Return a login of user0, by another wrong password each time."""
    form = f"grant_type=password&client_id=bench&service={SERVICE}&username=user0"
    return Request(form=f"{form}&password=wrong{{n}}")


def _good(load: Load, seconds: int) -> float:
    return (load.requests - load.failed) / seconds


def logins(
    installation: Installation, port: int, seconds: int, context: ssl.SSLContext | None = None
) -> Iterator[tuple[float, int]]:
    """Have people log in one after the other; give the seconds that each took, and the status."""
    for number in range(1, LOGINS + 1):
        time.sleep(seconds / (LOGINS + 2))
        began = time.monotonic()
        connection = _connection(port, context)
        path = f"/token?service={SERVICE}&offline_token=true"
        connection.request("GET", path, headers=installation.basic(PASSWORD, f"user{number}"))
        status = connection.getresponse().status
        connection.close()
        yield time.monotonic() - began, status


def _connection(port: int, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    here, elsewhere = ("127.0.0.1", port, PATIENCE), (ELSEWHERE, 0)
    if context is None:
        return http.client.HTTPConnection(*here, source_address=elsewhere)
    host, port, timeout = here
    return http.client.HTTPSConnection(
        host, port, timeout=timeout, source_address=elsewhere, context=context
    )

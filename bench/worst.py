"""One client that does its worst for two minutes, and what others notice of it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import func, literal, select

from authserver.db.models import TokenRecord
from bench import attacker, flood, machine
from bench.installation import Server, made, serving
from bench.rows import app_token
from bench.wrk import Load, Wrk, finished
from tests.e2e.nginx import NGINX, certificate, configured, site
from tests.programs import free_port, running

WORKERS = 2
CONNECTIONS = 8
"""Of the others, for each core."""
ALONE_SECONDS = 10
HERE = "127.0.0.1"
LIMITED = {"AUTHSERVER_REQUESTS_PER_ADDRESS": "200"}
"""As it is where nothing is set."""
OTHERS = 350
"""Bytes that a record has beside the texts that a client decides, its indexes among them."""

# As much as the workers' threads weigh: on one machine it must not take their processors by that.
_NICE = ("nice", "-n", "12")


@dataclass(frozen=True)
class Worst:
    """What became of the others: ``kept`` is the rate of app tokens in relation to that without.

    The attacker's program runs on the same machine: that is without the processor time it takes.
    ``p99`` and ``logins`` are in seconds, ``refused`` how many people could not log in, ``failed``
    how many app tokens got no answer. ``resident`` is the memory of the largest worker in the end,
    ``stored`` the attacker's records and the log, in bytes; ``answers`` is what the attacker got.
    """

    name: str
    kept: float
    p99: float
    failed: int
    logins: tuple[float, ...]
    refused: int
    resident: int
    stored: int
    answers: Mapping[str, int]

    def __str__(self) -> str:
        logins = ", ".join(f"{took:.1f}" for took in self.logins)
        return (
            f"{self.name}: others kept {self.kept:.2f} of their rate, p99 {self.p99 * 1e3:.0f} ms, "
            f"{self.failed} failed; logins {logins} s, {self.refused} refused; "
            f"a worker has {self.resident / 1e6:.0f} MB, {self.stored / 1e6:.1f} MB were stored; "
            f"it got {dict(self.answers)}"
        )


def measured(directory: Path, seconds: int) -> Iterator[Worst]:
    """Attack two workers, without the shipped nginx and behind it."""
    for name, front in (("without nginx", _without), ("behind nginx", _behind_nginx)):
        trusted = {"AUTHSERVER_TRUSTED_PROXIES": f"{HERE}/32,{NGINX}/32"}
        installation = made(directory / name.replace(" ", "-"), 10, 10, trusted | LIMITED)
        with serving(installation, "--workers", str(WORKERS)) as server, front(server) as place:
            yield _attacked(name, server, place, seconds)


@dataclass(frozen=True)
class _Place:
    """Where clients go."""

    port: int
    directory: Path
    tls: bool = False


@contextmanager
def _without(server: Server) -> Iterator[_Place]:
    yield _Place(server.installation.port, server.installation.data_dir.parent)


@contextmanager
def _behind_nginx(server: Server) -> Iterator[_Place]:
    inside, port = server.installation, free_port()
    directory = inside.data_dir.parent / "nginx"
    directory.mkdir(mode=0o755)
    cert, key = certificate(directory)
    # The load generator has one address, and says whose requests they are.
    many = f"set_real_ip_from {HERE}; real_ip_header X-Forwarded-For;\n"
    text = many + site(port, f"{HERE}:{free_port()}", inside.port, cert, key)
    url = f"https://localhost:{port}/"
    with running(configured(directory, text), url, directory / "log", certificate=cert):
        yield _Place(port, directory, tls=True)


def _attacked(name: str, server: Server, place: _Place, seconds: int) -> Worst:
    """Attack for some seconds, while app tokens of many are used and people log in."""
    installation = server.installation
    wrk = Wrk(f"{'https' if place.tls else 'http'}://{HERE}:{place.port}", place.directory)
    request = replace(app_token(installation), by_many=True)
    connections = CONNECTIONS * machine.cores()
    finished(wrk.start(request, 1, connections))
    alone = finished(wrk.start(request, ALONE_SECONDS, connections))
    before = _stored(server)
    command = [*_NICE, sys.executable, "-m", attacker.__name__, str(place.port), str(seconds)]
    attacking = subprocess.Popen(
        [*command, *(["--tls"] if place.tls else [])], stdout=subprocess.PIPE, text=True
    )
    used = wrk.start(request, seconds, connections)
    context = attacker.unverified() if place.tls else None
    answers = list(flood.logins(installation, place.port, seconds, context))
    beside = finished(used)
    output, _ = attacking.communicate()
    told = json.loads(output)
    left = 1 - told["processor"] / (seconds * machine.cores())
    server.settle()
    return Worst(
        name=name,
        kept=_good(beside) / _good(alone) / left,
        p99=beside.p99,
        failed=beside.failed,
        logins=tuple(took for took, _ in answers),
        refused=sum(status != 200 for _, status in answers),
        resident=server.resident(),
        stored=_stored(server) - before,
        answers=told["answers"],
    )


def _good(load: Load) -> float:
    return load.rate * (1 - load.failed / max(1, load.requests))


def _stored(server: Server) -> int:
    """Return how many bytes the attacker's records have, and the log."""
    store, of = server.installation.store(), TokenRecord
    texts = (of.client, of.requested, of.granted, of.reason, of.rules, of.account)
    length = func.sum(sum(map(func.length, texts), literal(OTHERS)))
    with store.read() as session:
        records = session.scalar(select(length).where(of.address == attacker.ADDRESS)) or 0
    store.engine.dispose()
    return int(records) + server.installation.log.stat().st_size

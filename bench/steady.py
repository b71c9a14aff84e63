"""Plain pulls on many connections for a minute: each gets a token, and each leaves a record."""

import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select

from authserver.audit.journal import MAX_BATCH, insert_events
from authserver.audit.record_rows import CHANGES
from authserver.audit.recorder import Trail
from authserver.audit.token_event import TokenEvent
from authserver.db.models import AuditChain, AuditMark
from authserver.db.store import Store
from authserver.runtime.metrics import families
from authserver.web.server import metrics_reporter
from bench import machine
from bench.installation import SERVICE, Installation, Server
from bench.rows import anonymous
from bench.wrk import Wrk, finished

CONNECTIONS = 128
"""For each core."""

WRITTEN_SECONDS = 120.0
REPORTS = 3
"""In so many reports of the workers there are no more records on their way."""

SEALED_EVERY = 100_000


@dataclass(frozen=True)
class Steady:
    """What became of the requests: ``refused`` got no token, ``lost`` left no record.

    ``records`` is how many the store holds at the end.
    """

    name: str
    requests: int
    rate: float
    p99: float
    refused: int
    lost: int
    records: int

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.requests} requests, {self.rate:.0f}/s, "
            f"p99 {self.p99 * 1e3:.0f} ms, {self.refused} refused, {self.lost} lost, "
            f"{self.records} records in the end"
        )


def steady(name: str, server: Server, directory: Path, seconds: int) -> Steady:
    """Pull for some seconds, and count what is in the store when all is written."""
    installation, store = server.installation, server.installation.store()
    server.settle()
    written = _written(store)
    request, connections = anonymous()(installation), CONNECTIONS * machine.cores()
    load = finished(Wrk(installation.url, directory).start(request, seconds, connections))
    _wait_until_written(installation)
    written = _written(store) - written
    # What is on its way when wrk ends has a record that it does not wait for.
    lost = max(0, load.requests - written, _metric(installation, families.RECORDS_LOST.name))
    records = _kept(store)
    store.engine.dispose()
    return Steady(name, load.requests, load.rate, load.p99, load.failed, lost, records)


def fill(installation: Installation, number: int) -> None:
    """Write so many records of yesterday, in a sealed chain."""
    store, at = installation.store(), datetime.now(UTC) - timedelta(days=1)
    for begin in range(0, number, MAX_BATCH):
        with store.append() as session:
            insert_events(store, session, list(_events(begin, at)))
            if begin % SEALED_EVERY == 0:
                store.trail.checkpoint(session, store.time(session))
    with store.append() as session:
        store.trail.checkpoint(session, store.time(session))
        Trail.of(store).end(session)
    store.engine.dispose()


def _events(begin: int, at: datetime) -> Iterator[TokenEvent]:
    one = TokenEvent(
        request_id="",
        address="127.0.0.1",
        client="docker/27.3.1 go/go1.22.7 kernel/6.8.0 os/linux arch/amd64",
        service=SERVICE,
        requested="repository:public/app:pull",
        outcome="granted",
        granted="repository:public/app:pull",
        rules="1",
    )
    for number in range(begin, begin + MAX_BATCH):
        moment = at + timedelta(milliseconds=number)
        yield replace(one, request_id=f"{number:032x}", jwt_id=f"{number:022x}", at=moment)


def _wait_until_written(installation: Installation) -> None:
    """Wait until no record is on its way to the store, by what the workers report.

    Raises:
        SystemExit: some still are after WRITTEN_SECONDS.
    """
    waiting = (families.RECORDS_PENDING.name, families.RECORDS_SPOOLED.name)
    deadline, without = time.monotonic() + WRITTEN_SECONDS, 0
    while without < REPORTS:
        if time.monotonic() > deadline:
            raise SystemExit(f"{installation.url} does not write its records")
        time.sleep(metrics_reporter.INTERVAL)
        some = any(_metric(installation, name) for name in waiting)
        without = 0 if some else without + 1


def _metric(installation: Installation, name: str) -> int:
    url = f"http://{installation.settings['AUTHSERVER_METRICS_LISTEN']}/metrics"
    with urllib.request.urlopen(url) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.split()[1])) for line in lines if line.startswith(f"{name} "))


def _written(store: Store) -> int:
    """Return how many records were ever written, those that were deleted among them."""
    with store.read() as session:
        query = select(func.sum(AuditChain.seq)).where(AuditChain.id != CHANGES)
        return int(session.scalar(query) or 0)


def _kept(store: Store) -> int:
    """Return how many records there are, by what is noted of their chains."""
    with store.read() as session:
        query = select(func.sum(AuditMark.trimmed_seq)).where(AuditMark.chain_id != CHANGES)
        return _written(store) - int(session.scalar(query) or 0)

"""What needs attention by what only a serving process knows."""

from collections.abc import Iterator

from authserver.core.commands import shell_command
from authserver.core.errors import NotReady
from authserver.core.names import the_registry
from authserver.policy.lint.findings import Level
from authserver.web.overview.items import (
    OverviewCode,
    OverviewItem,
    OverviewPage,
    altered,
    first_of,
    number,
)
from authserver.web.server.maintenance import Maintenance


def items(maintenance: Maintenance) -> Iterator[OverviewItem]:
    """Give what needs attention, in no order."""
    if maintenance.altered:
        yield altered(maintenance.altered)
    if warning := maintenance.proxies.warning:
        yield OverviewItem(OverviewCode.PROXIES, Level.WARNING, warning)
    yield from _closed_keys(maintenance)
    yield from _records(maintenance)
    if warnings := maintenance.capacity.warnings:
        yield OverviewItem(
            OverviewCode.SPACE,
            Level.ERROR if maintenance.capacity.full else Level.WARNING,
            "; ".join(warnings),
            remedy=shell_command("audit", "prune", "--before", "30d"),
            page=OverviewPage.AUDIT,
        )


def _closed_keys(maintenance: Maintenance) -> Iterator[OverviewItem]:
    state = maintenance.state.latest
    own = state.keys.own.items() if state else ()
    closed = {service: key for service, key in own if isinstance(key, NotReady)}
    if closed:
        service, why = next(iter(closed.items()))
        several = "" if len(closed) == 1 else f"{len(closed):,} registries get no tokens; "
        yield OverviewItem(
            OverviewCode.REGISTRY_KEY_CLOSED,
            Level.ERROR,
            f"{several}no tokens for {the_registry(service)}: {why}",
            len(closed),
            first_of([*closed]),
            shell_command("db", "check"),
            OverviewPage.KEYS,
        )


def _records(maintenance: Maintenance) -> Iterator[OverviewItem]:
    pending, waiting = len(maintenance.journal.pending), maintenance.spool.waiting
    if maintenance.records_late:
        yield OverviewItem(
            OverviewCode.RECORDS_LATE,
            Level.ERROR,
            f"the store takes no records of token requests: {number(pending, 'record')} wait; the "
            "log says why",
            remedy=shell_command("db", "check"),
            page=OverviewPage.AUDIT,
        )
    if waiting:
        yield OverviewItem(
            OverviewCode.RECORDS_SPOOLED,
            Level.WARNING,
            f"records of token requests wait in the spool, {number(waiting, 'byte')}: they go to "
            "the store by themselves once it takes them",
            page=OverviewPage.AUDIT,
        )

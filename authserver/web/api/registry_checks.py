"""Find out why a registry does not accept our tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Literal

import structlog
from pydantic import Field

from authserver.core.errors import Refused
from authserver.core.names import the_registry
from authserver.core.signatures import HeaderMode
from authserver.db import lookup
from authserver.keys.compatibility import Version
from authserver.registry import last_checks
from authserver.registry.doctor import expected
from authserver.registry.doctor.examination import Options, examine
from authserver.registry.doctor.expected import Expected
from authserver.registry.doctor.serving import Serving
from authserver.web import proxies
from authserver.web.api.models import ApiAnswer, ApiBody, ApiQuery
from authserver.web.api.operations import Call, Operations, references

OPERATIONS = Operations("checks", "Finding out why a registry does not accept our tokens.")

# Less than proxies wait for an answer. A check also asks our own realm, which needs free threads.
REQUEST_SECONDS, ALL_SECONDS = 5.0, 20.0

log = structlog.get_logger()
_examining = Lock()


class NewCheck(ApiBody):
    """The registry to examine."""

    registry: str = Field(min_length=1)


class ApiFinding(ApiAnswer):
    """One check."""

    check: str
    status: Literal["passed", "failed", "not tried"]
    why: str
    cure: str | None = Field(description="For a failure: the exact change to make.")


class Check(ApiAnswer):
    """The result of an examination."""

    service: str
    url: str
    healthy: bool = Field(description="Whether nothing failed.")
    version: Version | None
    header_modes: list[HeaderMode]
    authorities: list[int] = Field(description="Ids of the authorities that it trusts.")
    absent_authorities: list[int]
    findings: list[ApiFinding]


@OPERATIONS.operation("POST", "/checks")
def check_registry(call: Call[NewCheck, ApiQuery]) -> Check:
    """Examine a registry at its entry's URL; keep the result, and which authority it trusts."""
    url, expectation = _expectation(call)
    with _alone():
        service, caller = expectation.service, call.caller.name
        log.info("a registry is examined", registry=service, url=url, by=caller)
        options = Options(
            serving=_serving(call), request_seconds=REQUEST_SECONDS, all_seconds=ALL_SECONDS
        )
        report = examine(expectation, url, options)
    with call.change() as change:
        last_checks.keep(change, report)
    return Check.model_validate(report.as_json())


def _expectation(call: Call[NewCheck, ApiQuery]) -> tuple[str, Expected]:
    settings, store = call.parts.settings, call.parts.store
    with call.read() as session, references():
        row = lookup.registry(session, call.body.registry)
        if row.url is None:
            raise Refused(f"the entry of {the_registry(row.service)} has no url: it is asked there")
        safe = call.safe(session)
        return row.url, expected.load(session, safe, row.service, settings.realm, store.clock)


def _serving(call: Call[NewCheck, ApiQuery]) -> Serving:
    settings, watch = call.parts.settings, call.parts.maintenance.proxies
    return Serving(tuple(settings.contradictions()), lambda: watch.warning, proxies.FEWEST)


@contextmanager
def _alone() -> Iterator[None]:
    if not _examining.acquire(blocking=False):
        raise Refused("a registry is being examined: try again when that is done")
    try:
        yield
    finally:
        _examining.release()

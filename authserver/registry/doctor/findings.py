"""The findings of an examination, and the report that collects them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from authserver.core.names import printable
from authserver.core.signatures import HeaderMode
from authserver.keys.authorities import Sighting
from authserver.keys.compatibility import Version


class Status(StrEnum):
    """How one check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class DoctorFinding:
    """One check's result, its reason, and for a failure the exact change to make."""

    check: str
    status: Status
    why: str
    cure: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "status": str(self.status),
            "why": self.why,
            "cure": self.cure or None,
        }


def passed(check: str, why: str) -> DoctorFinding:
    return DoctorFinding(check, Status.PASSED, why)


def failed(check: str, why: str, cure: str) -> DoctorFinding:
    return DoctorFinding(check, Status.FAILED, why, cure)


def compared(check: str, value: str, wanted: str, cure: str) -> DoctorFinding:
    """Return the finding on a string that must equal ``wanted``."""
    if value == wanted:
        return passed(check, f'it is "{wanted}"')
    how = " (letters' case counts)" if value.casefold() == wanted.casefold() else ""
    return failed(check, f'it is "{printable(value)}", and ours "{wanted}"{how}', cure)


def not_tried(check: str, why: str, cure: str = "") -> DoctorFinding:
    return DoctorFinding(check, Status.NOT_TRIED, why, cure)


@dataclass
class DoctorReport:
    """All findings of one examination, and the registry's version, header modes and authorities.

    ``authorities`` has the ids of our authorities that the registry trusts, and
    ``absent_authorities`` of those that it does not trust.
    """

    service: str
    url: str
    findings: list[DoctorFinding] = field(default_factory=list)
    authorities: list[int] = field(default_factory=list)
    absent_authorities: list[int] = field(default_factory=list)
    modes: list[HeaderMode] = field(default_factory=list)
    version: Version | None = None

    def add(self, *findings: DoctorFinding) -> None:
        self.findings += findings

    def extend(self, findings: Iterable[DoctorFinding]) -> None:
        self.findings += findings

    def of(self, check: str) -> DoctorFinding | None:
        """Return the finding of a check, None if the examination did not reach it."""
        return next((finding for finding in self.findings if finding.check == check), None)

    def has_passed(self, check: str) -> bool:
        finding = self.of(check)
        return finding is not None and finding.status is Status.PASSED

    @property
    def sighting(self) -> Sighting:
        """Return which of our authorities the registry trusts, in the form that the store notes."""
        return Sighting(frozenset(self.authorities), frozenset(self.absent_authorities))

    @property
    def healthy(self) -> bool:
        """Whether no check failed."""
        return all(finding.status is not Status.FAILED for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "url": self.url,
            "healthy": self.healthy,
            "version": str(self.version) if self.version else None,
            "header_modes": [str(mode) for mode in self.modes],
            "authorities": self.authorities,
            "absent_authorities": self.absent_authorities,
            "findings": [finding.as_json() for finding in self.findings],
        }

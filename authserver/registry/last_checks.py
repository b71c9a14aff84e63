"""The last check of each registry: kept by ``registry check`` and the API, shown with its entry.

Only the findings that failed are kept. The registry that they quote may be hostile: texts are
bounded, and nothing is decided by them.
"""

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from authserver.core.commands import shell_command
from authserver.core.errors import NotFound
from authserver.core.names import printable, the_registry
from authserver.db import lookup
from authserver.db.models import RegistryCheckRow, RegistryRow
from authserver.db.store import Change
from authserver.keys import authorities

if TYPE_CHECKING:
    from authserver.registry.doctor.findings import DoctorFinding, DoctorReport

MAX_FINDINGS, MAX_TEXT = 50, 1000


def keep(change: Change, report: "DoctorReport") -> None:
    """Keep an examination as the registry's last one; note which authority the registry trusts.

    Raises:
        NotFound: the entry was removed meanwhile.
    """
    registry = lookup.registry(change.session, report.service)
    authorities.note(change, report.service, report.sighting)
    failed = [finding for finding in report.findings if finding.status == "failed"]
    change.session.merge(
        RegistryCheckRow(
            registry_id=registry.id,
            at=change.at,
            by=change.actor,
            url=report.url,
            failed=len(failed),
            findings=[*map(_bounded, failed[:MAX_FINDINGS])],
        )
    )
    checks = [finding.check for finding in failed[:MAX_FINDINGS]]
    after = {"url": report.url, "healthy": report.healthy, "failed": checks}
    change.record("registry.check", f"registry:{report.service}", after=after)


def _bounded(finding: "DoctorFinding") -> dict[str, str]:
    texts = {"check": finding.check, "why": finding.why, "cure": finding.cure}
    return {name: printable(text, MAX_TEXT) for name, text in texts.items()}


def require_url(change: Change, registry: RegistryRow) -> None:
    """Forget the last check if it was at another URL than the entry names now."""
    last = registry.last_check
    if last is not None and registry.url not in (None, last.url):
        forget(change, registry)


def forget(change: Change, registry: RegistryRow) -> None:
    """Forget the last check of a registry."""
    change.session.execute(
        delete(RegistryCheckRow).where(RegistryCheckRow.registry_id == registry.id)
    )
    change.session.expire(registry, ["last_check"])


def of(session: Session, service: str) -> RegistryCheckRow:
    """Return the last check of a registry.

    Raises:
        NotFound: there is no such registry, or it was not checked yet.
    """
    row = lookup.registry(session, service).last_check
    if row is None:
        command = shell_command("registry", "check", operand=service)
        raise NotFound(f"{the_registry(service)} was not checked yet: `{command}`")
    return row


def failures(registry: RegistryRow) -> list[str]:
    """Return the names of the checks that failed the last time."""
    last = registry.last_check
    return [] if last is None else [finding["check"] for finding in last.findings]


def summary(row: RegistryCheckRow | None) -> dict[str, Any] | None:
    """Return when and how the last check ended, for ``--json``."""
    if row is None:
        return None
    return {
        "at": row.at.isoformat(),
        "by": row.by,
        "healthy": not row.failed,
        "failed": row.failed,
    }


def described(row: RegistryCheckRow) -> dict[str, Any]:
    """Return the last check with its findings."""
    return {**(summary(row) or {}), "url": row.url, "findings": row.findings}

"""One examination of a registry, from its challenge to a walk through what clients do."""

from dataclasses import dataclass, field
from pathlib import Path

from authserver.registry.doctor import auth_section, challenge, realm, token_check
from authserver.registry.doctor.auth_section import Files
from authserver.registry.doctor.challenge import Seen
from authserver.registry.doctor.client_walk import Account, Walk
from authserver.registry.doctor.expected import Ours
from authserver.registry.doctor.findings import Finding, Report, Status, failed, not_tried, passed
from authserver.registry.doctor.http import (
    ALL_SECONDS,
    REQUEST_SECONDS,
    Fetcher,
    Remote,
    Unreachable,
)

_REACHABLE = "registry.reachable"


@dataclass(frozen=True)
class Options:
    """What is examined beside the live registry, and how long it may take, in seconds.

    ``ask_foreign_realm`` lets the registry name a URL that is asked from this machine: for an
    operator's own terminal, not for requests that others send.
    """

    files: Files | None = None
    account: Account = field(default_factory=Account)
    repository: str | None = None
    ca_file: Path | None = None
    ask_foreign_realm: bool = False
    request_seconds: float = REQUEST_SECONDS
    all_seconds: float = ALL_SECONDS


def examine(ours: Ours, url: str, options: Options) -> Report:
    """Examine the registry at ``url`` as the registry entry that ``ours`` speaks of.

    It is asked with test tokens that grant nothing, and for a repository with those that our
    token endpoint gives to the account.

    Raises:
        Refused: the URL is none, or the CA file holds no certificate.
    """
    fetcher = Fetcher(options.ca_file, options.request_seconds, options.all_seconds)
    remote = Remote.at(url, fetcher)
    report = Report(ours.service, remote.url)
    seen = _look(remote, ours, report)
    if seen is not None:
        _challenged(remote, ours, seen, options, report)
    if options.files is not None:
        report.extend(auth_section.check(options.files, ours, _proven_realm(seen, report)))
    _show_token(remote, ours, seen, report)
    report.extend(_walked(remote, ours, options, report))
    return report


def _look(remote: Remote, ours: Ours, report: Report) -> Seen | None:
    """Ask without a token; return what the registry says, None if it is no challenge."""
    try:
        answer = remote.ask("/v2/")
    except Unreachable as error:
        report.add(failed(_REACHABLE, str(error), error.cure))
        return None
    ahead = challenge.clock_difference(answer, ours.clock())
    report.add(passed(_REACHABLE, f"{remote.url} answers"), challenge.check(answer))
    said = challenge.parse(answer.headers)
    return Seen(said, ahead) if said is not None and answer.status == 401 else None


def _challenged(remote: Remote, ours: Ours, seen: Seen, options: Options, report: Report) -> None:
    report.add(challenge.check_service(seen.challenge, ours.service))
    report.extend(realm.check(seen.challenge, remote, ours, ask_foreign=options.ask_foreign_realm))
    report.add(challenge.check_clock(seen.ahead))


def _show_token(remote: Remote, ours: Ours, seen: Seen | None, report: Report) -> None:
    if seen is None:
        report.add(not_tried("token", "the registry does not ask for tokens"))
        return
    try:
        token_check.check(remote, ours, seen, report)
    except Unreachable as error:
        report.add(failed("token", str(error), error.cure))


def _proven_realm(seen: Seen | None, report: Report) -> str | None:
    finding = report.of("challenge.realm")
    proven = finding is not None and finding.status is Status.PASSED
    return seen.challenge.realm if seen is not None and proven else None


def _walked(remote: Remote, ours: Ours, options: Options, report: Report) -> list[Finding]:
    if options.repository is None:
        return [not_tried("walk", "no --repository was named")]
    finding = report.of("token")
    if finding is None or finding.status is not Status.PASSED:
        return [not_tried("walk", "the registry accepts no token of ours yet")]
    return Walk(remote, ours, options.account, options.repository).run()

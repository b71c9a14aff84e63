"""One examination of a registry: all checks, from its challenge to the client walk."""

from dataclasses import dataclass, field
from pathlib import Path

from authserver.registry.doctor import auth_section, challenge, realm, token_check
from authserver.registry.doctor.auth_section import Files
from authserver.registry.doctor.challenge import ObservedChallenge
from authserver.registry.doctor.client_walk import ClientWalk, WalkAccount
from authserver.registry.doctor.expected import Expected
from authserver.registry.doctor.findings import (
    DoctorFinding,
    DoctorReport,
    Status,
    failed,
    not_tried,
    passed,
)
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
    """The optional parts of an examination, and its time limits in seconds.

    With ``ask_foreign_realm`` this machine sends a request to any realm that the registry names.
    It is for an operator's terminal only: in the API it would let a registry choose the target.
    """

    files: Files | None = None
    account: WalkAccount = field(default_factory=WalkAccount)
    repository: str | None = None
    ca_file: Path | None = None
    ask_foreign_realm: bool = False
    request_seconds: float = REQUEST_SECONDS
    all_seconds: float = ALL_SECONDS


def examine(expected: Expected, url: str, options: Options) -> DoctorReport:
    """Examine the registry at ``url`` against the registry entry that ``expected`` describes.

    The checks use test tokens that grant nothing. Only the client walk uses tokens that our token
    endpoint gives to the account.

    Raises:
        Refused: the URL is not http or https, or the CA file has no certificate.
    """
    fetcher = Fetcher(options.ca_file, options.request_seconds, options.all_seconds)
    remote = Remote.at(url, fetcher)
    report = DoctorReport(expected.service, remote.url)
    observed = _observe(remote, expected, report)
    if observed is not None:
        _check_challenge(remote, expected, observed, options, report)
    if options.files is not None:
        report.extend(auth_section.check(options.files, expected, _proven_realm(observed, report)))
    _check_token(remote, expected, observed, report)
    report.extend(_walk(remote, expected, options, report))
    return report


def _observe(remote: Remote, expected: Expected, report: DoctorReport) -> ObservedChallenge | None:
    """Send a request without a token; return the challenge, None if the answer has none."""
    try:
        answer = remote.ask("/v2/")
    except Unreachable as error:
        report.add(failed(_REACHABLE, str(error), error.cure))
        return None
    report.add(passed(_REACHABLE, f"{remote.url} answers"), challenge.check(answer))
    bearer = challenge.parse(answer.headers)
    if bearer is None or answer.status != 401:
        return None
    return ObservedChallenge(bearer, challenge.clock_difference(answer, expected.clock()))


def _check_challenge(
    remote: Remote,
    expected: Expected,
    observed: ObservedChallenge,
    options: Options,
    report: DoctorReport,
) -> None:
    report.add(challenge.check_service(observed.challenge, expected.service))
    report.extend(
        realm.check(observed.challenge, remote, expected, ask_foreign=options.ask_foreign_realm)
    )
    report.add(challenge.check_clock(observed.ahead))


def _check_token(
    remote: Remote, expected: Expected, observed: ObservedChallenge | None, report: DoctorReport
) -> None:
    if observed is None:
        report.add(not_tried("token", "the registry does not ask for tokens"))
        return
    try:
        token_check.check(remote, expected, observed, report)
    except Unreachable as error:
        report.add(failed("token", str(error), error.cure))


def _proven_realm(observed: ObservedChallenge | None, report: DoctorReport) -> str | None:
    finding = report.of("challenge.realm")
    proven = finding is not None and finding.status is Status.PASSED
    return observed.challenge.realm if observed is not None and proven else None


def _walk(
    remote: Remote, expected: Expected, options: Options, report: DoctorReport
) -> list[DoctorFinding]:
    if options.repository is None:
        return [not_tried("walk", "no --repository was named")]
    finding = report.of("token")
    if finding is None or finding.status is not Status.PASSED:
        return [not_tried("walk", "the registry does not accept our tokens yet")]
    return ClientWalk(remote, expected, options.account, options.repository).run()

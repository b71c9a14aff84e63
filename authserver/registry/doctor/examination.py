"""One examination of a registry: all checks, from its challenge to the client walk."""

from dataclasses import dataclass, field
from pathlib import Path

from authserver.registry.doctor import auth_section, challenge, realm, serving, token_check
from authserver.registry.doctor.auth_section import Files
from authserver.registry.doctor.challenge import ObservedChallenge
from authserver.registry.doctor.client_walk import ClientWalk, WalkAccount
from authserver.registry.doctor.expected import Expected
from authserver.registry.doctor.findings import DoctorReport, failed, not_tried, passed
from authserver.registry.doctor.http import (
    ALL_SECONDS,
    REQUEST_SECONDS,
    Fetcher,
    Remote,
    Unreachable,
)
from authserver.registry.doctor.serving import Serving

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
    serving: Serving | None = None
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
    return _Examination(remote, expected, options, DoctorReport(expected.service, remote.url)).run()


@dataclass(frozen=True)
class _Examination:
    remote: Remote
    expected: Expected
    options: Options
    report: DoctorReport

    def run(self) -> DoctorReport:
        observed = self._observe()
        if observed is not None:
            self._check_challenge(observed)
        if self.options.files is not None:
            has_ours = self.report.has_passed("challenge.realm")
            proven_realm = observed.challenge.realm if observed and has_ours else None
            self.report.extend(
                auth_section.check(
                    self.options.files,
                    self.expected,
                    proven_realm,
                    asks_for_tokens=observed is not None,
                )
            )
        self._check_serving()
        self._check_token(observed)
        self._walk()
        return self.report

    def _observe(self) -> ObservedChallenge | None:
        """Send a request without a token; return the challenge, None if the answer has none."""
        try:
            answer = self.remote.ask("/v2/")
        except Unreachable as error:
            self.report.add(failed(_REACHABLE, str(error), error.cure))
            return None
        self.report.add(passed(_REACHABLE, f"{self.remote.url} answers"), challenge.check(answer))
        bearer = challenge.parse(answer.headers)
        if bearer is None or answer.status != 401:
            return None
        return ObservedChallenge(bearer, challenge.clock_difference(answer, self.expected.clock()))

    def _check_challenge(self, observed: ObservedChallenge) -> None:
        foreign = self.options.ask_foreign_realm
        self.report.add(challenge.check_service(observed.challenge, self.expected.service))
        self.report.extend(
            realm.check(observed.challenge, self.remote, self.expected, ask_foreign=foreign)
        )
        self.report.add(challenge.check_clock(observed.ahead))

    def _check_serving(self) -> None:
        ours = self.options.serving
        if ours is not None:
            answers = self.report.has_passed("realm.answers")
            self.report.extend(serving.check(ours, self.expected, self.remote, answers=answers))

    def _check_token(self, observed: ObservedChallenge | None) -> None:
        if observed is None:
            # With TLS in the way, or a proxy, nobody knows whether it does.
            cause = challenge.CHECK if self.report.has_passed(_REACHABLE) else _REACHABLE
            self.report.add(not_tried("token", f"it was not seen to ask for one: see {cause}"))
            return
        try:
            token_check.check(self.remote, self.expected, observed, self.report)
        except Unreachable as error:
            self.report.add(failed("token", str(error), error.cure))

    def _walk(self) -> None:
        if self.options.repository is None:
            self.report.add(not_tried("walk", "no --repository was named"))
        elif not self.report.has_passed("token"):
            self.report.add(not_tried("walk", "the registry does not accept our tokens yet"))
        else:
            account, repository = self.options.account, self.options.repository
            self.report.extend(ClientWalk(self.remote, self.expected, account, repository).run())

"""Check whether the registry accepts a test token, and if not, why."""

from dataclasses import replace

from authserver.registry.doctor import capabilities, probe, refusal
from authserver.registry.doctor.challenge import ObservedChallenge
from authserver.registry.doctor.expected import Expected
from authserver.registry.doctor.findings import DoctorReport, passed
from authserver.registry.doctor.http import Remote


def check(
    remote: Remote, expected: Expected, observed: ObservedChallenge, report: DoctorReport
) -> None:
    """Add the findings on the test token and the header modes to the report.

    Raises:
        Unreachable: the registry stopped answering.
    """
    usual = probe.usual(expected)
    answer = usual.answer(remote)
    match answer.status:
        case 200:
            report.add(passed(refusal.CHECK, "it accepts our test token"))
            capabilities.learn(remote, expected, usual, report)
        case 401 if not probe.reached(answer):
            report.add(refusal.not_seen())
        case 401:
            _explain(remote, expected, observed, report, usual)
        case _:
            report.add(refusal.broken(answer))
    report.add(capabilities.check(report))


def _explain(
    remote: Remote,
    expected: Expected,
    observed: ObservedChallenge,
    report: DoctorReport,
    usual: probe.Probe,
) -> None:
    like = probe.adapted(usual, observed)
    working = probe.accepted(remote, expected, like)
    if working is None:
        report.add(refusal.unexplained(expected, report))
        return
    report.add(refusal.explained(expected, usual, working))
    capabilities.learn(remote, expected, replace(like, issuer=working.issuer), report)

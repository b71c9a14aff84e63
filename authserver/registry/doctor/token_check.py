"""The test token: whether the registry accepts what we sign, and if not, why."""

from dataclasses import replace

from authserver.registry.doctor import capabilities, probe, refusal
from authserver.registry.doctor.challenge import Seen
from authserver.registry.doctor.expected import Ours
from authserver.registry.doctor.findings import Report, passed
from authserver.registry.doctor.http import Remote


def check(remote: Remote, ours: Ours, seen: Seen, report: Report) -> None:
    """Add the findings on the test token and the header modes to the report.

    Raises:
        Unreachable: the registry stopped answering.
    """
    usual = probe.usual(ours)
    answer = usual.shown(remote)
    match answer.status:
        case 200:
            report.add(passed(refusal.CHECK, "it accepts a test token of ours"))
            capabilities.learn(remote, ours, usual, report)
        case 401 if not probe.reached(answer):
            report.add(refusal.not_seen())
        case 401:
            _explain(remote, ours, seen, report, usual)
        case _:
            report.add(refusal.broken(answer))
    report.add(capabilities.check(report))


def _explain(remote: Remote, ours: Ours, seen: Seen, report: Report, usual: probe.Probe) -> None:
    like = probe.adapted(usual, seen)
    working = probe.accepted(remote, ours, like)
    if working is None:
        report.add(refusal.unexplained(ours, report))
        return
    report.add(refusal.explained(ours, usual, working))
    capabilities.learn(remote, ours, replace(like, issuer=working.issuer), report)

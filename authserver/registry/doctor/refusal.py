"""Explain a refusal by what differs in the test token that the registry accepts."""

from collections.abc import Iterator

from authserver.core.commands import program, shell_command
from authserver.core.names import printable
from authserver.registry.doctor.expected import Expected
from authserver.registry.doctor.findings import DoctorFinding, DoctorReport, Status, failed
from authserver.registry.doctor.http import HttpAnswer
from authserver.registry.doctor.probe import Probe

CHECK = "token"
REFUSES = "it refuses our tokens"


def explained(expected: Expected, usual: Probe, working: Probe) -> DoctorFinding:
    """Return a finding that names each difference between our token and the accepted one."""
    causes = list(_differences(expected, usual, working))
    why = " and ".join(why for why, _ in causes)
    return failed(CHECK, f"{REFUSES}: {why}", "; ".join(cure for _, cure in causes))


def _differences(expected: Expected, usual: Probe, working: Probe) -> Iterator[tuple[str, str]]:
    if working.audience != usual.audience:
        why = f'its service is "{printable(working.audience)}", and ours "{usual.audience}"'
        yield why, _set("service", usual.audience)
    if working.at != usual.at:
        yield "its clock and ours differ by more than it allows", "set both clocks by NTP"
    if working.issuer != usual.issuer:
        why = f'its issuer is "{working.issuer}", and ours "{usual.issuer}"'
        yield why, _set("issuer", usual.issuer)
    if working.mode is not usual.mode:
        yield _other_mode(expected, usual, working)
    elif working.authority is not None and working.authority is not usual.authority:
        yield _other_authority(expected, working.authority.id)


def _set(option: str, value: str) -> str:
    return f'set `{option}: "{value}"` in its auth.token section and restart it'


def _other_mode(expected: Expected, usual: Probe, working: Probe) -> tuple[str, str]:
    why = f"it finds no key for header mode {usual.mode}, and finds one for {working.mode}"
    edit = ("registry", "edit", "--header-mode", working.mode)
    edited = shell_command(*edit, operand=expected.service)
    section = shell_command("registry", "config", operand=expected.service)
    cure = f"`{edited}`, or give it what `{section}` names and restart it"
    return why, cure


def _other_authority(expected: Expected, trusted_id: int) -> tuple[str, str]:
    why = (
        f"its bundle holds authority {trusted_id} and not authority {expected.authority.id}, "
        "under which tokens are signed"
    )
    return why, f"write `{program()} key bundle` to its rootcertbundle file and restart it"


def unexplained(expected: Expected, report: DoctorReport) -> DoctorFinding:
    """Return the finding where the registry accepts no test token at all."""
    read = [finding for finding in report.findings if finding.check.startswith("config.")]
    suspects = [*read, *filter(None, [report.of("clock")])]
    failures = [finding.check for finding in suspects if finding.status is Status.FAILED]
    if failures:
        return failed(
            CHECK,
            f"{REFUSES}, for what has failed above: {', '.join(failures)}",
            "make the changes named there and restart it",
        )
    if read:
        return failed(
            CHECK,
            f"{REFUSES}, and its configuration file does not say why: it runs with another file, "
            "with REGISTRY_AUTH_TOKEN_… variables, or with the files as they were at its start",
            "restart it with this file, and take REGISTRY_AUTH_TOKEN_… out of its environment",
        )
    section = shell_command("registry", "config", operand=expected.service)
    return failed(
        CHECK,
        f"{REFUSES}: its rootcertbundle does not hold our authority, its issuer is not "
        f'"{expected.issuer}", or it was not restarted since they were set',
        f"compare its section with `{section}` and its bundle with `{program()} key bundle`, and "
        "restart it; with --config its file is read here",
    )


def broken(answer: HttpAnswer) -> DoctorFinding:
    """Return the finding on an answer that is neither 200 nor 401."""
    return failed(
        CHECK,
        f"it answers {answer.status} to a test token, neither 200 nor 401. {answer.error}".strip(),
        "look at the registry's log, and at that of the proxy in front of it",
    )


def not_seen() -> DoctorFinding:
    """Return the finding where the token did not reach the registry."""
    return failed(
        CHECK,
        "it answers as if it had been shown no token: a proxy in front takes the Authorization "
        "header away",
        "let the proxy pass Authorization on for /v2/",
    )

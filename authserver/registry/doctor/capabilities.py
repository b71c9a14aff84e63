"""Learn which of our authorities a registry trusts, its header modes, and its version."""

from dataclasses import replace

from authserver.core.signatures import KEY_ID_MODES, HeaderMode
from authserver.keys import keyring
from authserver.keys.compatibility import Version
from authserver.registry.distribution import key_ids
from authserver.registry.doctor import probe
from authserver.registry.doctor.expected import Expected, OwnAuthority
from authserver.registry.doctor.findings import (
    DoctorFinding,
    DoctorReport,
    Status,
    failed,
    not_tried,
    passed,
)
from authserver.registry.doctor.http import Remote
from authserver.registry.doctor.probe import Probe

CHECK = "modes"
FORGED = "token.forged"


def learn(remote: Remote, expected: Expected, like: Probe, report: DoctorReport) -> None:
    """Add what the registry accepts to the report; ``like`` is a probe that it accepts."""
    forged = _check_forged(remote, expected, like)
    report.add(forged)
    if forged.status is Status.PASSED:
        _learn(remote, expected, like, report)


def _check_forged(remote: Remote, expected: Expected, like: Probe) -> DoctorFinding:
    """Show a forged token: a registry that accepts it would accept every later probe as well."""
    stranger = OwnAuthority(0, keyring.make_authority(expected.issuer, like.at))
    if not probe.under(stranger, like).accepted(remote):
        return passed(FORGED, "it refuses a test token under an unknown authority")
    return failed(
        FORGED,
        "it accepts a test token under an unknown authority: the server at this URL does not "
        "verify tokens, and everybody may do everything",
        "find out which server answers for the registry, and have it verify tokens",
    )


def _learn(remote: Remote, expected: Expected, like: Probe, report: DoctorReport) -> None:
    trusted = []
    for authority in expected.authorities:
        if probe.under(authority, like).accepted(remote):
            trusted.append(authority)
            report.authorities.append(authority.id)
        else:
            report.absent_authorities.append(authority.id)
    if trusted:
        report.modes.append(HeaderMode.X5C)
    for mode in KEY_ID_MODES:
        if any(each.accepted(remote) for each in probe.by_key_ids(expected, mode, like)):
            report.modes.append(mode)
    if trusted:
        report.version = _version(remote, trusted[0], like, report.modes)


def _version(
    remote: Remote, trusted: OwnAuthority, like: Probe, modes: list[HeaderMode]
) -> Version | None:
    """Return the version by tokens that only some versions accept; None if several are left."""
    listed = replace(probe.under(trusted, like), audience_is_list=True)
    if not listed.accepted(remote):
        return Version.V2_8
    if HeaderMode.RFC7638 in modes:
        return Version.V3_1
    constant = key_ids.computed(trusted.pair.private.public_key(), Version.V3_0)
    by_constant = replace(probe.by_key_id(HeaderMode.RFC7638, trusted, like), kid=constant)
    return Version.V3_0 if by_constant.accepted(remote) else None


def check(report: DoctorReport) -> DoctorFinding:
    """Return the finding on the header modes that the registry accepts."""
    if not report.modes:
        return not_tried(CHECK, "it accepts none of our test tokens")
    names = ", ".join(report.modes)
    version = f"; it verifies tokens as {report.version}" if report.version else ""
    return passed(CHECK, f"with the keys that it has, it accepts {names}{version}")

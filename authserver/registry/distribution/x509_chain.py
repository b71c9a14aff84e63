"""Verify a certificate chain up to a trusted root, as Go's ``x509.Verify`` does."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from authserver.core.names import printable

MAX_LENGTH = 10


def broken(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    at: datetime,
) -> str | None:
    """Return why no chain leads from ``leaf`` to one of ``roots`` at ``at``; None if one does."""
    if not roots:
        return "the registry has no certificate bundle to hold it against"
    reasons = list(_broken(leaf, intermediates[:MAX_LENGTH], roots, at))
    return reasons[0] if reasons else None


def _broken(
    certificate: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    at: datetime,
    below: int = 0,
) -> Iterator[str]:
    """Yield what breaks each chain upwards; nothing if one chain reaches a root."""
    if why := untimely(certificate, at):
        yield why
        return
    if certificate in roots:
        return
    reasons = []
    for parent in _parents(certificate, roots):
        why = _not_issued_by(certificate, parent, below) or untimely(parent, at)
        if why is None:
            return
        reasons.append(why)
    for parent in _parents(certificate, intermediates):
        others = [other for other in intermediates if other != parent]
        why = _not_issued_by(certificate, parent, below)
        faults = [why] if why else list(_broken(parent, others, roots, at, below + 1))
        if not faults:
            return
        reasons += faults
    yield from reasons or [
        f"no certificate of the bundle is the issuer {_name(certificate.issuer)} of its certificate"
    ]


def untimely(certificate: x509.Certificate, at: datetime) -> str | None:
    """Return why a certificate is not valid at ``at``; None if it is."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at > end:
        return f"the certificate {_name(certificate.subject)} ended at {end:%Y-%m-%d %H:%M} UTC"
    if at < start:
        return f"the certificate {_name(certificate.subject)} begins at {start:%Y-%m-%d %H:%M} UTC"
    return None


def _parents(
    certificate: x509.Certificate, candidates: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    return [other for other in candidates if other.subject == certificate.issuer]


def _not_issued_by(
    certificate: x509.Certificate, parent: x509.Certificate, below: int
) -> str | None:
    name = _name(parent.subject)
    if not may_certify(parent):
        return f"the certificate {name} is not a certificate authority"
    length = _path_length(parent)
    if length is not None and below > length:
        return f"the certificate {name} allows no authority below it"
    try:
        certificate.verify_directly_issued_by(parent)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return f"the bundle has a certificate {name}, but with another key"
    return None


def may_certify(certificate: x509.Certificate) -> bool:
    """Whether a registry accepts certificates that this one signed."""
    try:
        extensions = certificate.extensions
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        return certificate.version is x509.Version.v1
    except ValueError:
        return False
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _path_length(certificate: x509.Certificate) -> int | None:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return None
    return extension.value.path_length


def _name(name: x509.Name) -> str:
    return printable(name.rfc4514_string()) or "without a name"

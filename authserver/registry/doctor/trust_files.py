"""Check that the registry's ``rootcertbundle`` and ``jwks`` files have our keys and no others."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519

from authserver.core.commands import program, shell_command
from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.core.signatures import HeaderMode
from authserver.keys.header_modes import key_id
from authserver.registry.distribution import x509_chain
from authserver.registry.distribution.trust import ListedKey, public_key, read_bundle, read_jwks
from authserver.registry.doctor.config_file import ConfigFile
from authserver.registry.doctor.expected import Expected
from authserver.registry.doctor.files import contents
from authserver.registry.doctor.findings import DoctorFinding, failed, not_tried, passed

BUNDLE = "config.bundle"
BUNDLE_FOREIGN = "config.bundle.foreign"

JWKS = "config.jwks"
JWKS_FOREIGN = "config.jwks.foreign"


def check_bundle(
    config: ConfigFile, here: Path | None, expected: Expected
) -> Iterator[DoctorFinding]:
    """Yield the findings on the bundle; ``here`` is its path on this machine, if it has another."""
    named = config.text("rootcertbundle")
    if not named:
        yield _without(config, expected)
        return
    path = here or Path(named)
    cure = f"`{program()} key bundle > {quote(printable(named))}`, and restart the registry"
    if here is None and not path.is_file():
        yield _absent(BUNDLE, named, "copy it here and name the copy with --bundle")
        return
    try:
        bundle = read_bundle(contents(path), str(path))
    except Refused as error:
        yield failed(BUNDLE, f"{error}, and the registry does not start", cure)
        return
    yield _holds_our_certificate(bundle, expected, cure)
    yield _foreign_certificates(bundle, expected, cure)
    yield _ed25519(bundle, cure)


def _without(config: ConfigFile, expected: Expected) -> DoctorFinding:
    if config.text("jwks") is None:
        section = shell_command("registry", "config", operand=expected.service)
        return failed(
            BUNDLE,
            "it has neither rootcertbundle nor jwks, and does not start",
            f"write what `{section}` prints; restart it",
        )
    if expected.mode is HeaderMode.X5C:
        return failed(
            BUNDLE,
            "it has a jwks and no rootcertbundle: it refuses tokens that carry their certificate "
            "(x5c), and 2.8 does not start",
            f"write what `{program()} key bundle` prints to a file, set `rootcertbundle:` to it, "
            "and restart it",
        )
    return passed(BUNDLE, f"it has a jwks, with which header mode {expected.mode} needs no bundle")


def _holds_our_certificate(
    certificates: Sequence[x509.Certificate], expected: Expected, cure: str
) -> DoctorFinding:
    own = expected.anchor
    if own in certificates:
        if why := x509_chain.untimely(own, expected.clock()):
            return failed(BUNDLE, why, f"make a new authority: `{program()} key authority rotate`")
        return passed(BUNDLE, "it holds the certificate that our tokens need")
    if same := [other for other in certificates if other.subject == own.subject]:
        end = f"{same[0].not_valid_after_utc:%Y-%m-%d}"
        why = f"it holds a certificate of our name but another key, to {end}"
        return failed(BUNDLE, why, cure)
    older = [a.id for a in expected.authorities if a.pair.certificate in certificates]
    if older:
        return failed(
            BUNDLE,
            f"it holds authority {older[0]} and not authority {expected.authority.id}, under which "
            "tokens are signed",
            cure,
        )
    names = printable("; ".join(_name(certificate) for certificate in certificates))
    return failed(BUNDLE, f"our authority is not in it; it holds {names}", cure)


def _foreign_certificates(
    certificates: Sequence[x509.Certificate], expected: Expected, cure: str
) -> DoctorFinding:
    own = expected.certificates()
    foreign = [certificate for certificate in certificates if certificate not in own]
    if not foreign:
        return passed(BUNDLE_FOREIGN, "it holds only our certificates")
    names = printable("; ".join(_name(certificate) for certificate in foreign))
    authorities = any(map(x509_chain.may_certify, foreign))
    how = ", or a key that it certifies," if authorities else ""
    return failed(
        BUNDLE_FOREIGN,
        f"a holder of the key of {names}{how} can make tokens that grant everything here",
        f"unless you need it there, remove it: {cure}",
    )


def _ed25519(bundle: Sequence[x509.Certificate], cure: str) -> DoctorFinding:
    check = "config.bundle.versions"
    if any(isinstance(public_key(entry), ed25519.Ed25519PublicKey) for entry in bundle):
        return failed(check, "it holds an Ed25519 certificate, and 2.8 does not start", cure)
    return passed(check, "every version reads the keys in it")


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a name"


def check_jwks(
    config: ConfigFile, here: Path | None, expected: Expected
) -> Iterator[DoctorFinding]:
    """Yield the findings on the JWKS; ``here`` is its path on this machine, if it has another."""
    named = config.text("jwks")
    if not named:
        if (config.token or {}).get("jwks"):
            why = "its jwks is not a string, and the registry does not read it"
            yield failed(JWKS, why, "write a file's path")
        return
    path = here or Path(named)
    cure = f"`{program()} key jwks > {quote(printable(named))}`, and restart the registry"
    if here is None and not path.is_file():
        remedy = "copy it here and name the copy with --jwks; it must be a file: no URL is read"
        yield _absent(JWKS, named, remedy)
        return
    try:
        listed = read_jwks(contents(path), str(path))
    except Refused as error:
        yield failed(JWKS, f"{error}, and 3.x does not start", cure)
        return
    yield _lists_our_key(listed, expected, cure)
    yield _foreign_keys(listed, expected)


def _absent(check: str, named: str, cure: str) -> DoctorFinding:
    return not_tried(check, f"{printable(named)} is not on this machine", cure)


def _lists_our_key(listed: Sequence[ListedKey], expected: Expected, cure: str) -> DoctorFinding:
    if expected.mode is HeaderMode.X5C:
        return passed(JWKS, "tokens that carry their certificate (x5c) do not need it")
    public = expected.key.private.public_key()
    kid = key_id(public, expected.mode)
    if ListedKey(kid, public) in listed:
        return passed(JWKS, f"it lists our key as {kid}; 2.8 does not read it")
    if any(key.public == public for key in listed):
        return failed(JWKS, f"it lists our key, but not as {kid}", cure)
    return failed(JWKS, f"our key {kid} is not in it", cure)


def _foreign_keys(listed: Sequence[ListedKey], expected: Expected) -> DoctorFinding:
    own = [certificate.public_key() for certificate in expected.certificates()]
    foreign = [key.kid for key in listed if key.public not in own]
    if not foreign:
        return passed(JWKS_FOREIGN, "it lists only our keys")
    names = printable(", ".join(foreign))
    return failed(
        JWKS_FOREIGN,
        f"a holder of the key {names} can make tokens that grant everything here",
        "unless you need it there, remove it from the file and restart the registry",
    )

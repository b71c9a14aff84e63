"""The registry's ``rootcertbundle``: whether our authority is in it, and who else is."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519

from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.keys.jose import HeaderMode
from authserver.registry.distribution import x509_chain
from authserver.registry.distribution.trust import public_key, read_bundle
from authserver.registry.doctor.config_file import ConfigFile, contents
from authserver.registry.doctor.expected import Ours
from authserver.registry.doctor.findings import Finding, failed, not_tried, passed

CHECK = "config.bundle"
FOREIGN = "config.bundle.foreign"


def check(config: ConfigFile, here: Path | None, ours: Ours) -> Iterator[Finding]:
    """Give the findings on the bundle; ``here`` is where it is on this machine."""
    named = config.text("rootcertbundle")
    if not named:
        yield _without(config, ours)
        return
    place = here or Path(named)
    cure = f"authserver key bundle > {printable(named)}, and restart the registry"
    if here is None and not place.is_file():
        yield not_tried(
            CHECK,
            f"{printable(named)} is not on this machine",
            "copy it here and name the copy with --bundle",
        )
        return
    try:
        found = read_bundle(contents(place), str(place))
    except Refused as error:
        yield failed(CHECK, f"{error}, and the registry does not start", cure)
        return
    yield _holds_ours(found, ours, cure)
    yield _foreign(found, ours, cure)
    yield _edwards(found, cure)


def _without(config: ConfigFile, ours: Ours) -> Finding:
    if config.text("jwks") is None:
        return failed(
            CHECK,
            "it has neither rootcertbundle nor jwks, and does not start",
            f"write what `authserver registry config {ours.service}` prints; restart it",
        )
    if ours.mode is HeaderMode.X5C:
        return failed(
            CHECK,
            "it has a jwks and no rootcertbundle: tokens that carry their certificate (x5c) are "
            "refused by it, and 2.8 does not start",
            "set `rootcertbundle:` to a file with what `authserver key bundle` prints; restart it",
        )
    return passed(CHECK, f"it has none, and header mode {ours.mode} needs none with a jwks")


def _holds_ours(found: Sequence[x509.Certificate], ours: Ours, cure: str) -> Finding:
    own = ours.anchor
    if own in found:
        if why := x509_chain.untimely(own, ours.clock()):
            return failed(CHECK, why, "make a new authority: authserver key authority rotate")
        return passed(CHECK, "it holds the certificate that our tokens need")
    if same := [other for other in found if other.subject == own.subject]:
        ends = f"{same[0].not_valid_after_utc:%Y-%m-%d}"
        return failed(CHECK, f"it holds a certificate of our name but another key, to {ends}", cure)
    older = [a.id for a in ours.authorities if a.pair.certificate in found]
    if older:
        return failed(
            CHECK,
            f"it holds authority {older[0]} and not authority {ours.authority.id}, under which "
            "tokens are signed",
            cure,
        )
    names = printable("; ".join(_name(certificate) for certificate in found))
    return failed(CHECK, f"our authority is not in it; it holds {names}", cure)


def _foreign(found: Sequence[x509.Certificate], ours: Ours, cure: str) -> Finding:
    own = ours.certificates()
    foreign = [certificate for certificate in found if certificate not in own]
    if not foreign:
        return passed(FOREIGN, "it holds nobody else's certificate")
    names = printable("; ".join(_name(certificate) for certificate in foreign))
    authorities = any(map(x509_chain.may_certify, foreign))
    how = "and whoever it certifies " if authorities else ""
    return failed(
        FOREIGN,
        f"who has the key of {names} {how}can make tokens that grant everything here",
        f"unless you need it there, remove it: {cure}",
    )


def _edwards(found: Sequence[x509.Certificate], cure: str) -> Finding:
    check = "config.bundle.versions"
    if any(isinstance(public_key(one), ed25519.Ed25519PublicKey) for one in found):
        return failed(check, "it holds an Ed25519 certificate, and 2.8 does not start", cure)
    return passed(check, "every version reads the keys in it")


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "a certificate without a name"

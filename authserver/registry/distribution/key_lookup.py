"""The key that a registry verifies a signature with: by ``x5c``, else ``jwk``, else ``kid``."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography import x509

from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.keys.compatibility import Version
from authserver.registry.distribution import key_ids, x509_chain
from authserver.registry.distribution.key_ids import PublicKey
from authserver.registry.distribution.parsing import ParsedToken
from authserver.registry.distribution.trust import RegistryTrust, jwk_key, public_key


class Untrusted(Refused):
    """The registry finds no trusted key for a token."""


def find(token: ParsedToken, trust: RegistryTrust, version: Version, at: datetime) -> PublicKey:
    """Return the key that ``version`` verifies the signature with.

    Raises:
        Untrusted: the header names no key, or a key that the registry does not trust.
    """
    header = token.header
    if header.get("x5c"):
        return _by_certificate(header["x5c"], trust, at)
    if header.get("jwk") is not None:
        return _by_jwk(header["jwk"], trust, version, at)
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise Untrusted("its header names no key: there is no x5c, jwk or kid")
    return _by_key_id(kid, trust, version)


def _by_certificate(x5c: object, trust: RegistryTrust, at: datetime) -> PublicKey:
    certificates = _certificates(x5c)
    if not trust.bundle:
        raise Untrusted(
            "it carries its certificate (x5c) and the registry has no rootcertbundle: "
            "a JWKS is not looked at then"
        )
    if why := x509_chain.broken(certificates[0], certificates[1:], trust.bundle, at):
        raise Untrusted(f"its certificate (x5c) is not trusted: {why}")
    public = public_key(certificates[0])
    if public is None:
        raise Untrusted("the key of its certificate (x5c) is of a kind that registries cannot use")
    return public


def _certificates(x5c: object) -> Sequence[x509.Certificate]:
    if not isinstance(x5c, list) or not all(isinstance(entry, str) for entry in x5c):
        raise Untrusted("its x5c is not a list of strings")
    try:
        return [certificate(entry) for entry in x5c]
    except ValueError:
        raise Untrusted(
            "its x5c has an entry that is not a certificate in standard base64 (RFC 7515, 4.1.6)"
        ) from None


def certificate(entry: str) -> x509.Certificate:
    """Return a certificate of an ``x5c``: DER in standard base64 (RFC 7515, 4.1.6).

    Raises:
        ValueError: the entry is not a certificate.
    """
    return x509.load_der_x509_certificate(base64.b64decode(entry, validate=True))


def _by_jwk(jwk: Any, trust: RegistryTrust, version: Version, at: datetime) -> PublicKey:  # noqa: ANN401
    public = jwk_key(jwk) if isinstance(jwk, dict) else None
    if public is None:
        raise Untrusted("its jwk is not a public key that registries can use")
    own = key_ids.computed(public, version)
    if not version.reads_jwks and jwk.get("kid", own) != own:
        raise Untrusted("the kid inside its jwk is not the key's libtrust id, which 2.8 wants")
    if jwk.get("x5c"):
        certified = _by_certificate(jwk["x5c"], trust, at)
        if certified != public:
            raise Untrusted("its jwk is another key than that of the certificate inside it")
        return public
    kid = jwk.get("kid", "") if version.reads_jwks else own
    trusted = trust.keys(version).get(kid) if isinstance(kid, str) else None
    if trusted is None:
        raise Untrusted("its jwk is not among the keys that the registry trusts")
    return trusted


def _by_key_id(kid: str, trust: RegistryTrust, version: Version) -> PublicKey:
    trusted = trust.keys(version)
    if kid in trusted:
        return trusted[kid]
    raise Untrusted(_unknown(kid, trust, version))


def _unknown(kid: str, trust: RegistryTrust, version: Version) -> str:
    """Return why ``version`` finds no key by ``kid``, though another version might."""
    quoted_kid = printable(kid, 100)
    if not version.reads_jwks and kid in {listed.kid for listed in trust.jwks}:
        return f"its kid {quoted_kid} is in the JWKS, which 2.8 does not read"
    for public in trust.certified():
        own = key_ids.computed(public, version)
        if kid == key_ids.libtrust(public):
            return (
                f"its kid is a libtrust id: {version} finds it only in a jwks file that lists "
                "the key under it"
            )
        if kid not in (key_ids.rfc7638(public), key_ids.computed(public, Version.V3_0)):
            continue
        if own is None:
            return f"{version} finds no Ed25519 key of the bundle by a kid"
        return (
            f"{version} knows the key of that certificate as {own}, not as {quoted_kid}: "
            "use x5c, an RSA key, or a jwks file"
            if version.reads_jwks
            else f"its kid {quoted_kid} is not a libtrust id: 2.8 knows this key as {own}"
        )
    return f"no key is trusted under its kid {quoted_kid}"

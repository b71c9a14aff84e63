"""Registry tokens, good and odd, and which versions of Distribution accept each."""

import base64
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from authserver.keys import header_modes, jose, keyring
from authserver.keys.compatibility import Version
from authserver.registry.distribution import key_ids
from authserver.registry.distribution.trust import ListedKey, RegistryTrust

ISSUER, SERVICE = "authserver", "registry"
EVERY = frozenset(Version)
NONE: frozenset[Version] = frozenset()
ONLY_2 = frozenset({Version.V2_8})
ONLY_3 = EVERY - ONLY_2
NOT_3_0 = EVERY - {Version.V3_0}


def make_certificate(
    private: Any, name: str, signer: Any = None, issuer: str = "", *, ca: bool = True, days: int = 1
) -> x509.Certificate:
    """Make a certificate of ``private``, self-signed unless another signs; ``days`` may be past."""
    now = datetime.now(UTC)
    common, above = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
        for text in (name, issuer or name)
    )
    begin, end = sorted((now - timedelta(days=2), now + timedelta(days=days)))
    builder = x509.CertificateBuilder(
        above, common, private.public_key(), x509.random_serial_number(), begin, end
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    key = signer or private
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest)


def x5c(*certificates: x509.Certificate) -> list[str]:
    return [
        base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
        for certificate in certificates
    ]


def short_key() -> ec.EllipticCurvePrivateKey:
    """Return a key with a leading zero in its x coordinate."""
    numbers = range(1, 5000)
    found = (ec.derive_private_key(number, ec.SECP256R1()) for number in numbers)
    return next(key for key in found if key.public_key().public_numbers().x < 2**248)


def long_key() -> ec.EllipticCurvePrivateKey:
    """Return a P-384 key without a leading zero: one in a hundred has one, and 3.1 errs then."""
    while True:
        key = ec.generate_private_key(ec.SECP384R1())
        numbers = key.public_key().public_numbers()
        if min(numbers.x, numbers.y) >= 1 << 376:
            return key


def claims(**more: Any) -> dict[str, Any]:
    """Return claims that every version takes; what is None is left out."""
    now = int(datetime.now(UTC).timestamp())
    usual = {
        "iss": ISSUER,
        "sub": "",
        "aud": SERVICE,
        "exp": now + 3000,
        "nbf": now - 30,
        "iat": now,
        "jti": "a",
        "access": [],
    }
    return {name: value for name, value in (usual | more).items() if value is not None}


def compact(header: object, body: object, private: Any, algorithm: str) -> str:
    """Sign whatever is given; text goes in as it is."""
    parts = [
        jose.base64url((part if isinstance(part, str) else json.dumps(part)).encode())
        for part in (header, body)
    ]
    signed = ".".join(parts)
    signature = jwt.get_algorithm_by_name(algorithm).sign(signed.encode(), private)
    return f"{signed}.{jose.base64url(signature)}"


class Keys:
    """A registry's bundle and JWKS, with the private halves of everything in them."""

    def __init__(self) -> None:
        self.authority = keyring.make_authority(ISSUER, datetime.now(UTC))
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.short = short_key()
        self.p384 = long_key()
        self.listed = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.leaf = keyring.make_leaf(self.authority, datetime.now(UTC))
        self.self_signed = make_certificate(self.rsa, "self-signed", ca=False)
        self.old = make_certificate(self.p384, "old", days=-1)
        # The last P-256 certificate is the one that 3.0 finds by its constant id.
        self.bundle = (
            make_certificate(self.short, "short", ca=False),
            self.self_signed,
            self.old,
            self.authority.certificate,
        )

    def bundle_pem(self) -> str:
        return "".join(c.public_bytes(Encoding.PEM).decode() for c in self.bundle)

    def jwks(self) -> dict[str, Any]:
        raw = self.ed.public_key().public_bytes_raw()
        edwards = {"kty": "OKP", "crv": "Ed25519", "x": jose.base64url(raw), "kid": "ed"}
        return {"keys": [jose.public_jwk(self.listed.public_key(), "listed"), edwards]}

    def trust(self) -> RegistryTrust:
        return RegistryTrust(
            self.bundle,
            (
                ListedKey("listed", self.listed.public_key()),
                ListedKey("ed", self.ed.public_key()),
            ),
            ISSUER,
            frozenset({SERVICE}),
        )


@dataclass(frozen=True)
class Case:
    """A token, who accepts it, and a word of the reason that is given to the others."""

    name: str
    token: str
    accepted: frozenset[Version]
    why: str = ""

    def __str__(self) -> str:
        return self.name


def cases(keys: Keys) -> Iterator[Case]:
    """Give every case, signed now."""
    yield from _by_certificate(keys)
    yield from _by_key_id(keys)
    yield from _by_jwk(keys)
    yield from _by_claims(keys)
    yield from _by_form(keys)


def _by_certificate(keys: Keys) -> Iterator[Case]:
    def case(
        name: str,
        chain: list[str],
        private: Any,
        accepted: frozenset[Version],
        why: str = "",
        algorithm: str = "ES256",
        **more: str,
    ) -> Case:
        header = {"alg": algorithm, "x5c": chain, **more}
        return Case(name, compact(header, claims(), private, algorithm), accepted, why)

    leaf, other = keys.leaf, keyring.make_authority(ISSUER, datetime.now(UTC))
    stranger = keyring.make_leaf(other, datetime.now(UTC))
    yield case("x5c", x5c(leaf.certificate), leaf.private, EVERY)
    yield case("x5c and any kid", x5c(leaf.certificate), leaf.private, EVERY, kid="any")
    yield case("x5c and any typ", x5c(leaf.certificate), leaf.private, EVERY, typ="any")
    yield case("x5c of a stranger", x5c(stranger.certificate), stranger.private, NONE, "issuer")
    yield case(
        "x5c with the stranger's authority",
        x5c(stranger.certificate, other.certificate),
        stranger.private,
        NONE,
        "issuer",
    )
    yield case("x5c, another signer", x5c(leaf.certificate), stranger.private, NONE, "signature")
    yield case("x5c self-signed", x5c(keys.self_signed), keys.rsa, EVERY, algorithm="RS256")
    yield case("x5c, PS256", x5c(keys.self_signed), keys.rsa, ONLY_3, "alg", algorithm="PS256")
    yield case("x5c, ended", x5c(keys.old), keys.p384, NONE, "ended", algorithm="ES384")
    yield case("x5c is not a certificate", ["AAAA"], leaf.private, NONE, "not a certificate")
    renewed = make_certificate(keys.rsa, "self-signed", ca=False)
    yield case("x5c, renewed", x5c(renewed), keys.rsa, NONE, "not a certificate authority", "RS256")
    child = ec.generate_private_key(ec.SECP256R1())
    below = make_certificate(child, "child", leaf.private, _common_name(leaf.certificate))
    yield case(
        "x5c under a leaf", x5c(below, leaf.certificate), child, NONE, "not a certificate authority"
    )
    sub = ec.generate_private_key(ec.SECP256R1())
    name = _common_name(keys.authority.certificate)
    middle = make_certificate(sub, "middle", keys.authority.private, name)
    under = make_certificate(child, "under", sub, "middle", ca=False)
    yield case("x5c too deep", x5c(under, middle), child, NONE, "no authority below")
    forged = ec.generate_private_key(ec.SECP256R1())
    false = make_certificate(child, "false", forged, name, ca=False)
    yield case("x5c, a false authority", x5c(false), child, NONE, "another key")


def _common_name(certificate: x509.Certificate) -> str:
    [name] = certificate.subject
    return str(name.value)


def _by_key_id(keys: Keys) -> Iterator[Case]:
    def case(
        name: str,
        kid: str,
        private: Any,
        accepted: frozenset[Version],
        why: str = "",
        algorithm: str = "ES256",
    ) -> Case:
        header = {"alg": algorithm, "kid": kid}
        return Case(name, compact(header, claims(), private, algorithm), accepted, why)

    private = keys.authority.private
    own, rsa_public, short = private.public_key(), keys.rsa.public_key(), keys.short.public_key()
    yield case("libtrust", header_modes.libtrust_id(own), private, ONLY_2, "libtrust id")
    yield case("rfc7638", header_modes.thumbprint(own), private, frozenset({Version.V3_1}), "knows")
    constant = str(key_ids.computed(own, Version.V3_0))
    yield case("the constant of 3.0", constant, private, frozenset({Version.V3_0}), "knows")
    yield case(
        "rfc7638, RSA", header_modes.thumbprint(rsa_public), keys.rsa, ONLY_3, "2.8", "RS256"
    )
    yield case(
        "libtrust, RSA", header_modes.libtrust_id(rsa_public), keys.rsa, ONLY_2, "lib", "RS256"
    )
    yield case("leading zero", header_modes.thumbprint(short), keys.short, NONE, "knows")
    bare = str(key_ids.computed(short, Version.V3_1))
    yield case("leading zero left out", bare, keys.short, frozenset({Version.V3_1}), "kid")
    yield case("in the JWKS", "listed", keys.listed, ONLY_3, "JWKS")
    yield case("Ed25519 in the JWKS", "ed", keys.ed, ONLY_3, "alg", "EdDSA")
    yield case("another alg than listed", "listed", keys.p384, NONE, "", "ES384")
    p384 = header_modes.libtrust_id(keys.p384.public_key())
    yield case("libtrust, certificate ended", p384, keys.p384, ONLY_2, "libtrust", "ES384")
    true = key_ids.rfc7638(keys.p384.public_key())
    yield case("rfc7638, ended", true, keys.p384, frozenset({Version.V3_1}), "knows", "ES384")
    yield case("unknown kid", "nobody's", private, NONE, "kid nobody's")
    yield case("no kid", "", private, NONE, "names no key")


def _by_jwk(keys: Keys) -> Iterator[Case]:
    def case(
        name: str, jwk: Any, private: Any, accepted: frozenset[Version], why: str = ""
    ) -> Case:
        header = {"alg": "ES256", "jwk": jwk}
        return Case(name, compact(header, claims(), private, "ES256"), accepted, why)

    own = keys.authority.private.public_key()
    full = jose.public_jwk(own, header_modes.thumbprint(own))
    bare = {name: full[name] for name in ("kty", "crv", "x", "y")}
    stranger = ec.generate_private_key(ec.SECP256R1())
    public = jose.public_jwk(stranger.public_key(), header_modes.thumbprint(stranger.public_key()))
    foreign = {name: public[name] for name in ("kty", "crv", "x", "y")}
    signer = keys.authority.private
    yield case("jwk", bare, signer, ONLY_2, "jwk")
    yield case("jwk with kid", full, signer, frozenset({Version.V3_1}), "jwk")
    yield case("jwk of a stranger", foreign, stranger, NONE, "not among the keys")
    with_kid = foreign | {"kid": header_modes.thumbprint(own)}
    yield case("jwk of a stranger with our kid", with_kid, stranger, NONE)
    leaf = keys.leaf.private.public_key()
    inside = {n: v for n, v in jose.public_jwk(leaf, "").items() if n not in ("kid", "alg", "use")}
    chain = x5c(keys.leaf.certificate)
    yield case("jwk with x5c inside", inside | {"x5c": chain}, keys.leaf.private, EVERY)
    yield case("jwk, another x5c inside", foreign | {"x5c": chain}, stranger, NONE)
    yield case("jwk is not a key", {"kty": "EC"}, signer, NONE, "not a public key")


def _by_claims(keys: Keys) -> Iterator[Case]:
    now = int(datetime.now(UTC).timestamp())

    def case(name: str, accepted: frozenset[Version], why: str = "", **more: Any) -> Case:
        return Case(name, _signed(keys, claims(**more)), accepted, why)

    yield case("aud is a list", ONLY_3, "list", aud=[SERVICE])
    yield case("aud is a longer list", ONLY_3, "list", aud=["other", SERVICE])
    yield case("another aud", NONE, 'audience is "other"', aud="other")
    yield case("aud in another case", NONE, "audience", aud=SERVICE.upper())
    yield case("no aud", NONE, "missing", aud=None)
    yield case("aud is a number", NONE, "neither", aud=1)
    yield case("another iss", NONE, "issuer is", iss="other")
    yield case("iss is a list", NONE, "not a string", iss=[ISSUER])
    yield case("exp is a float", NONE, "whole number", exp=now + 3000.5)
    yield case("exp is a round float", NONE, "whole number", exp=float(now + 3000))
    yield case("exp is a string", NONE, "whole number", exp=str(now + 3000))
    yield case("exp beyond 64 bits", NONE, "64 bits", exp=2**63)
    yield case("no exp", NONE, "no exp", exp=None)
    yield case("just expired", EVERY, exp=now - 1)
    yield case("expired", NONE, "expired", exp=now - 70)
    yield case("soon valid", EVERY, nbf=now + 40)
    yield case("not yet valid", NONE, "before", nbf=now + 3000)
    yield case("issued in the future", EVERY, iat=now + 3000)
    yield case("only what is needed", EVERY, nbf=None, iat=None, jti=None, sub=None, access=None)
    yield case("access is an object", NONE, "access", access={})
    yield case("actions are a string", NONE, "access", access=[{"actions": "pull"}])
    yield case("an unknown claim", EVERY, foo={"bar": [1.5]})
    yield case("a claim of another case", ONLY_3, "access", Access="all")
    yield case("iss of another case", ONLY_3, "issuer", Iss="other")


def _signed(keys: Keys, body: object, head: object = None) -> str:
    header = head or {"alg": "ES256", "x5c": x5c(keys.leaf.certificate)}
    return compact(header, body, keys.leaf.private, "ES256")


def _by_form(keys: Keys) -> Iterator[Case]:
    good = _signed(keys, claims())
    body = json.dumps(claims())
    yield Case("iss twice", _signed(keys, f'{{"iss": "x", {body[1:]}'), ONLY_2, "twice")
    yield Case("a claim's last wins", _signed(keys, f'{body[:-1]}, "iss": "x"}}'), NONE)
    yield Case("padded", _padded(keys), ONLY_2, "padded")
    head, middle, signature = good.split(".")
    yield Case("cut signature", f"{head}.{middle}.{signature[:-4]}", NONE, "signature")
    yield Case("no signature", f"{head}.{middle}.", NONE, "signature")
    none = {"alg": "none", "x5c": x5c(keys.leaf.certificate)}
    yield Case("alg none", _signed(keys, claims(), none), NONE, "alg")
    symmetric = {
        "alg": "HS256",
        "kid": header_modes.libtrust_id(keys.authority.private.public_key()),
    }
    pem = keys.authority.certificate.public_bytes(Encoding.PEM)
    yield Case("alg HS256", _hmac(symmetric, pem), NONE, "alg")


def _hmac(header: object, secret: bytes) -> str:
    signed = ".".join(jose.base64url(json.dumps(part).encode()) for part in (header, claims()))
    signature = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{jose.base64url(signature)}"


def _padded(keys: Keys) -> str:
    header = json.dumps({"alg": "ES256", "x5c": x5c(keys.leaf.certificate)})
    header += " " * ((1 - len(header)) % 3)
    signed = ".".join(
        (
            base64.urlsafe_b64encode(header.encode()).decode(),
            jose.base64url(json.dumps(claims()).encode()),
        )
    )
    signature = jwt.get_algorithm_by_name("ES256").sign(signed.encode(), keys.leaf.private)
    return f"{signed}.{jose.base64url(signature)}"

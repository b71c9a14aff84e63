"""What versions of Distribution say to tokens; tests/e2e/test_verdicts.py asks real ones."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from authserver.core.errors import Refused
from authserver.keys.compatibility import Version
from authserver.registry.distribution import key_ids, parsing
from authserver.registry.distribution.parsing import MalformedToken
from authserver.registry.distribution.trust import RegistryTrust, read_bundle, read_jwks
from authserver.registry.distribution.verify import judge
from tests import odd_tokens
from tests.odd_tokens import Case, Keys

KEYS = Keys()
CASES = list(odd_tokens.cases(KEYS))
# Other tests may run for longer than a token has left between now and its turn.
SIGNED_AT = datetime.now(UTC)


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_verdict_is_that_of_the_version(case: Case, version: Version) -> None:
    verdict = judge(parsing.read(case.token), KEYS.trust(), version, SIGNED_AT)
    assert verdict.accepted is (version in case.accepted), verdict.reasons
    if not verdict.accepted:
        assert case.why in " ".join(verdict.reasons)


@pytest.mark.parametrize("version", [Version.V3_0, Version.V3_1])
def test_a_registry_with_a_jwks_alone_takes_no_certificate(version: Version) -> None:
    trust = RegistryTrust((), KEYS.trust().jwks, odd_tokens.ISSUER, frozenset({odd_tokens.SERVICE}))
    [token] = [case.token for case in CASES if case.name == "x5c"]
    [reason] = judge(parsing.read(token), trust, version, datetime.now(UTC)).reasons
    assert "no rootcertbundle" in reason
    [listed] = [case.token for case in CASES if case.name == "in the JWKS"]
    assert judge(parsing.read(listed), trust, version, datetime.now(UTC)).accepted


@pytest.mark.parametrize(
    ("seconds", "accepted"), [(59, True), (61, False), (-89, True), (-91, False)]
)
def test_exp_and_nbf_have_a_leeway_of_a_minute(seconds: int, accepted: bool) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    body = odd_tokens.claims(exp=int(now.timestamp()), nbf=int(now.timestamp()) - 30)
    head = {"alg": "ES256", "x5c": odd_tokens.x5c(KEYS.leaf.certificate)}
    token = parsing.read(odd_tokens.compact(head, body, KEYS.leaf.private, "ES256"))
    at = now + timedelta(seconds=seconds)
    assert judge(token, KEYS.trust(), Version.V3_1, at).accepted is accepted


def test_every_reason_is_given() -> None:
    body = odd_tokens.claims(iss="other", aud="other", exp=1)
    token = odd_tokens.compact({"alg": "ES256"}, body, KEYS.leaf.private, "ES256")
    verdict = judge(parsing.read(token), KEYS.trust(), Version.V2_8, datetime.now(UTC))
    assert len(verdict.reasons) == 4


def test_unset_issuer_and_services_are_not_compared() -> None:
    body = odd_tokens.claims(iss="other", aud="other")
    head = {"alg": "ES256", "x5c": odd_tokens.x5c(KEYS.leaf.certificate)}
    token = parsing.read(odd_tokens.compact(head, body, KEYS.leaf.private, "ES256"))
    assert judge(token, RegistryTrust(KEYS.bundle), Version.V2_8, datetime.now(UTC)).accepted


# Taking a token apart


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1 parts"),
        ("a.b", "2 parts"),
        ("a.b.c.d", "4 parts"),
        ("eyJ.é.x", "ASCII"),
        ("e30.e30.*", "base64url"),
        ("e30.e30.A", "base64url"),
        ("e30.e30=e30.AA", "base64url"),
        ("AAAA.e30.AA", "header is not JSON"),
        ("e30.W10.AA", "claims is not a JSON object"),
        ("e30.eyJhIjpOYU59.AA", "claims is not JSON"),
        ("W1tb" * 50_000 + ".e30.AA", "header is not JSON"),
    ],
    ids=range(11),
)
def test_malformed_tokens_are_refused_and_not_repeated(text: str, why: str) -> None:
    with pytest.raises(MalformedToken) as caught:
        parsing.read(text)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 200
    assert not [part for part in text.split(".") if len(part) > 5 and part in str(caught.value)]


def test_a_token_does_not_show_its_signature() -> None:
    assert "signature" not in repr(parsing.read(CASES[0].token))


# Key ids


def test_3_0_has_one_id_for_all_keys_of_a_curve() -> None:
    first, second = (ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(2))
    assert {key_ids.computed(key, Version.V3_0) for key in (first, second)} == {
        "xx0BcA-wMohw8atYDJOe6peGModklG2wRHBlXHMvl0M"
    }
    assert key_ids.computed(first, Version.V3_1) != key_ids.computed(second, Version.V3_1)


def test_only_3_1_computes_an_id_of_an_ed25519_key() -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    found = {version: key_ids.computed(public, version) for version in Version}
    assert [version for version, kid in found.items() if kid] == [Version.V3_1]
    assert found[Version.V3_1] == key_ids.rfc7638(public)


def test_3_x_leaves_leading_zeros_out() -> None:
    public = odd_tokens.short_key().public_key()
    assert key_ids.computed(public, Version.V3_1) != key_ids.rfc7638(public)
    whole = ec.derive_private_key(5, ec.SECP256R1()).public_key()
    assert key_ids.computed(whole, Version.V3_1) == key_ids.rfc7638(whole)


# Files


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": [1]}', b"\xff"])
def test_an_invalid_jwks_is_refused(text: bytes) -> None:
    with pytest.raises(Refused, match=r"keys\.json is not a JWKS"):
        read_jwks(text, "keys.json")


def test_keys_that_registries_cannot_use_are_left_out_of_a_jwks() -> None:
    text = b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}, {"kty": "EC"}, {"kid": 1}, {}]}'
    assert read_jwks(text, "keys.json") == ()


@pytest.mark.parametrize(
    "pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_an_invalid_bundle_is_refused(pem: bytes) -> None:
    with pytest.raises(Refused, match=r"bundle\.pem holds"):
        read_bundle(pem, "bundle.pem")

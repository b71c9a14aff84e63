"""What registries accept, as we know it; the end-to-end tests hold it against real ones."""

import pytest

from authserver.core.errors import Refused
from authserver.core.signatures import HeaderMode, KeyType
from authserver.keys.compatibility import Trust, Version, refusal, require_accepted

X5C, LIBTRUST, RFC7638 = HeaderMode.X5C, HeaderMode.LIBTRUST, HeaderMode.RFC7638
P256, RSA = KeyType.P256, KeyType.RSA2048
V2_8, V3_0, V3_1 = Version
BUNDLE, JWKS, BOTH = Trust


@pytest.mark.parametrize("version", Version)
@pytest.mark.parametrize("key_type", KeyType)
def test_x5c_with_the_bundle_is_accepted_everywhere(version: Version, key_type: KeyType) -> None:
    require_accepted(X5C, key_type, version, BUNDLE)


@pytest.mark.parametrize(
    ("mode", "key_type", "version", "trust", "why"),
    [
        (X5C, P256, V3_1, JWKS, "rfc7638"),
        (X5C, RSA, None, JWKS, "only a JWKS"),
        (LIBTRUST, RSA, V3_0, BUNDLE, "computes RFC 7638"),
        (RFC7638, RSA, V2_8, BUNDLE, "computes libtrust"),
        (LIBTRUST, RSA, V2_8, JWKS, "reads no JWKS"),
        (RFC7638, P256, V3_0, BUNDLE, "issue 4683"),
    ],
)
def test_a_refusal_says_what_to_choose(
    mode: HeaderMode, key_type: KeyType, version: Version | None, trust: Trust, why: str
) -> None:
    with pytest.raises(Refused, match=why):
        require_accepted(mode, key_type, version, trust)


@pytest.mark.parametrize(
    ("mode", "key_type", "version", "trust"),
    [
        (LIBTRUST, P256, V2_8, BUNDLE),
        (LIBTRUST, P256, V2_8, BOTH),
        (LIBTRUST, P256, V3_0, JWKS),
        (RFC7638, P256, V3_0, JWKS),
        (RFC7638, P256, V3_0, BOTH),
        (RFC7638, RSA, V3_0, BUNDLE),
        (RFC7638, P256, V3_1, BUNDLE),
    ],
)
def test_key_ids_are_accepted_where_they_are_known(
    mode: HeaderMode, key_type: KeyType, version: Version, trust: Trust
) -> None:
    assert refusal(mode, key_type, version, trust) is None


def test_without_a_version_it_is_enough_that_one_accepts() -> None:
    for mode in HeaderMode:
        require_accepted(mode, P256, None, BUNDLE)

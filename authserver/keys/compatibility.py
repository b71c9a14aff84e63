"""Which header mode a registry accepts, by its version and by what its configuration trusts.

docs/registry-matrix.md shows the same, recorded from real registries.
"""

from enum import StrEnum

from authserver.core.errors import Refused
from authserver.core.signatures import HeaderMode, KeyType

_RSA_AND_EC = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})
_MORE_IN_3 = frozenset({"PS256", "PS384", "PS512", "EdDSA"})
# 3.x takes these names in its settings; no key that it can be given verifies them.
_HMAC = frozenset({"HS256", "HS384", "HS512"})


class Version(StrEnum):
    """A release line; its patch releases verify alike."""

    V2_8 = "2.8"
    V3_0 = "3.0"
    V3_1 = "3.1"

    @property
    def reads_jwks(self) -> bool:
        return self is not Version.V2_8

    @property
    def algorithms(self) -> frozenset[str]:
        """Return the JWS algorithms (RFC 7518, 3.1) that a token may be signed with."""
        return _RSA_AND_EC | _MORE_IN_3 if self.reads_jwks else _RSA_AND_EC


ALGORITHM_NAMES = _RSA_AND_EC | _MORE_IN_3 | _HMAC
"""The names that ``signingalgorithms`` may list; 3.x does not start with any other."""


def usual_version(mode: HeaderMode) -> str:
    """Return the first number of the version that a registry with this header mode mostly has."""
    return "3" if mode is HeaderMode.RFC7638 else "2"


class Trust(StrEnum):
    """Which of ``rootcertbundle`` and ``jwks`` the registry's configuration names."""

    BUNDLE = "bundle"
    JWKS = "jwks"
    BOTH = "both"


def require_accepted(
    mode: HeaderMode, key_type: KeyType, version: Version | None, trust: Trust
) -> None:
    """Check that a registry can accept such tokens; without a ``version``, that any can.

    Raises:
        Refused: it cannot; the message says why and what to choose.
    """
    versions = [version] if version else list(Version)
    reasons = [refusal(mode, key_type, one, trust) for one in versions]
    if None not in reasons:
        raise Refused(f"no token would be accepted: {reasons[-1]}")


def refusal(mode: HeaderMode, key_type: KeyType, version: Version, trust: Trust) -> str | None:
    """Return why a registry refuses such tokens, None if it accepts them."""
    if version is Version.V2_8:
        return _refusal_by_2_8(mode, trust)
    if mode is HeaderMode.X5C:
        # A token with x5c is verified by it alone, whatever its kid.
        return (
            "a registry that has only a JWKS refuses every token with x5c: choose the header mode "
            "rfc7638, or have it trust the bundle"
            if trust is Trust.JWKS
            else None
        )
    if trust is not Trust.BUNDLE:
        return None
    if mode is HeaderMode.LIBTRUST:
        return (
            "Distribution 3 computes RFC 7638 key ids for its bundle: choose the header mode "
            "rfc7638, or have it trust the JWKS"
        )
    if version is Version.V3_0 and key_type is KeyType.P256:
        return (
            "Distribution 3.0 computes one wrong key id for all P-256 keys of its bundle (issue "
            "4683): choose the key type rsa-2048, have it trust the JWKS, or upgrade it to 3.1"
        )
    return None


def _refusal_by_2_8(mode: HeaderMode, trust: Trust) -> str | None:
    if trust is Trust.JWKS:
        return "Distribution 2.8 reads no JWKS: have it trust the bundle"
    if mode is HeaderMode.RFC7638:
        return (
            "Distribution 2.8 computes libtrust key ids: choose the header mode libtrust, "
            "or upgrade it to 3"
        )
    return None

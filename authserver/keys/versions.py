"""The versions of Distribution that verify tokens differently."""

from enum import StrEnum

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

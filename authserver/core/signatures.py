"""How registry tokens are signed: the type of the key, and how a token's header names it."""

from enum import StrEnum


class KeyType(StrEnum):
    """What a signing key is made of; the value is what an operator writes."""

    P256 = "p-256"
    RSA2048 = "rsa-2048"


class HeaderMode(StrEnum):
    """How a token names its key to one registry."""

    X5C = "x5c"
    LIBTRUST = "libtrust"
    RFC7638 = "rfc7638"


KEY_ID_MODES = tuple(mode for mode in HeaderMode if mode is not HeaderMode.X5C)
"""The modes that name a key of the registry's own by its id."""

MODES_HELP = (
    "x5c (the certificate; the usual way), or a key id that Distribution 2.8 (libtrust) or 3 "
    "(rfc7638) computes, with a key of its own."
)

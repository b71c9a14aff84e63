"""What a password may be, and the forms and costs of bcrypt hashes."""

import re

from authserver.core.errors import Refused
from authserver.core.names import nfc
from authserver.core.secret_tokens import Prefix

MIN_LENGTH, MAX_BYTES = 8, 72
NEW_PASSWORD = f"at least {MIN_LENGTH} characters, at most {MAX_BYTES} bytes"
"""What a new password must be, for help and forms."""

MIN_COST, MAX_COST = 4, 31
OURS = "$2b$"
"""How hashes begin that are made here. All others were imported."""

# Of the salt's last character bcrypt reads two bits, and takes no other spelling of them.
_hash = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")


def require_new(text: str) -> None:
    """Check a new password. An imported one may be shorter.

    Raises:
        Refused: the password is shorter than 8 characters in NFC, or cannot be hashed.
    """
    if text and len(nfc(text)) < MIN_LENGTH:
        raise Refused(
            f"a password of {len(nfc(text))} characters is too short: choose one of {NEW_PASSWORD}"
        )
    hashable(text)


def hashable(text: str) -> bytes:
    """Return the bytes of a password that bcrypt hashes.

    Raises:
        Refused: the password is empty, longer than the 72 bytes that bcrypt reads, contains NUL,
            or begins as an app token does.
    """
    password = normalised(text)
    if not password:
        raise Refused("a password is empty")
    if len(password) > MAX_BYTES:
        raise Refused(
            f"a password is {len(password)} bytes long: bcrypt reads {MAX_BYTES}, choose a shorter"
        )
    if text.startswith(tuple(Prefix)):
        raise Refused("a password begins as an app token does, and would be taken for one")
    if b"\0" in password:
        raise Refused("a password contains a NUL character, which clients cannot send")
    return password


def cost_of(stored: str) -> int:
    """Return the cost of a bcrypt hash.

    Raises:
        Refused: it is no bcrypt hash of the forms ``$2a$``, ``$2b$``, ``$2y$``.
    """
    matched = _hash.fullmatch(stored)
    if matched is None:
        raise Refused("not a bcrypt hash of the form $2y$, $2b$ or $2a$")
    return int(matched[1])


def is_imported(stored: str) -> bool:
    """Whether a hash was made by another program, from the bytes that it was sent."""
    return not stored.startswith(OURS)


def imported_only(text: str) -> str | None:
    """Return why ``text`` can only be right for an imported hash; None if it can be hashed here."""
    sent = len(text.encode("utf-8", "surrogatepass"))
    if sent > MAX_BYTES:
        return f"it has {sent} bytes, and bcrypt reads {MAX_BYTES}"
    return None if nfc(text) == text else "it is not in Unicode's normal form C"


def is_hash(stored: str) -> bool:
    """Whether passwords can be checked against ``stored``."""
    return _hash.fullmatch(stored) is not None


def normalised(text: str) -> bytes:
    """Return the bytes of a password in NFC."""
    # What is cut is far beyond the bytes that a password may have.
    return nfc(text).encode("utf-8", "surrogatepass")

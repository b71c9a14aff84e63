"""What a password may be, and the forms and costs of bcrypt hashes.

New passwords follow NIST SP 800-63B: a minimum length, no common password, no rule about kinds of
characters.
"""

import re
from collections.abc import Callable

from authserver.core.errors import Refused
from authserver.core.names import folded, nfc
from authserver.core.secret_tokens import Prefix

MIN_LENGTH, MAX_BYTES = 8, 72
"""The least minimum length that may be configured, and the bytes that bcrypt reads."""

MIN_COST, MAX_COST = 4, 31
OURS = "$2b$"
"""How hashes begin that are made here. All others were imported."""

# Of the salt's last character bcrypt reads two bits, and takes no other spelling of them.
_hash = re.compile(r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")


def wanted(minimum: int) -> str:
    """Return how long a new password must be, for messages and forms."""
    return f"at least {minimum} characters, at most {MAX_BYTES} bytes"


def require_new(text: str, name: str, minimum: int, is_common: Callable[[str], bool]) -> None:
    """Check a new password of the account ``name``. Imported hashes are not checked.

    Args:
        text: the password.
        name: the account's name.
        minimum: the configured minimum length, in characters in NFC.
        is_common: whether many people have a password; called with case-folded text in NFC.

    Raises:
        Refused: the password is too short, common, or the account's name, or cannot be hashed.
    """
    if text and len(nfc(text)) < minimum:
        raise Refused(
            f"a password of {len(nfc(text))} characters is too short: "
            f"choose one of {wanted(minimum)}"
        )
    hashable(text)
    password = folded(text)
    if is_common(password):
        raise Refused(
            "this password is one of the most common, which attackers try first: "
            f"choose another one of {wanted(minimum)}"
        )
    if _is_made_of(password, folded(name)) or _is_made_of(password, folded(name[::-1])):
        raise Refused(
            "a password must not be the account's name, reversed or with digits after it either: "
            f"choose another one of {wanted(minimum)}"
        )


def _is_made_of(password: str, name: str) -> bool:
    rest = password.removeprefix(name)
    return password == name or (rest != password and rest.isdecimal())


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

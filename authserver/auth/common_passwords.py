"""The most common passwords, which no new password may be.

The list is in the package zxcvbn, ordered by how often each password was found in leaks. It is read
when the first new password is checked: the import takes a tenth of a second and some memory.
"""

from functools import cache

from authserver.core.names import folded

COMMONEST = 10_000
"""How many are refused."""


def is_common(password: str) -> bool:
    """Whether a case-folded password in NFC is one of the most common."""
    return password in _commonest()


@cache
def _commonest() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415

    return frozenset(folded(password) for password in FREQUENCY_LISTS["passwords"][:COMMONEST])

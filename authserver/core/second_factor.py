"""Whether a password alone is enough: where an account has a second factor, or must have one."""

from enum import StrEnum


class Demanded(StrEnum):
    """Which users must have a second factor."""

    OPTIONAL = "optional"
    ADMINISTRATORS = "administrators"
    EVERYBODY = "everybody"


class Due(StrEnum):
    """What is due beside a user's password."""

    NOTHING = "nothing"
    PROOF = "proof"
    ENROLMENT = "enrolment"


def due(demanded: Demanded, *, has: bool, admin: bool) -> Due:
    """Return what is due of a user who ``has`` a second factor, and may be an administrator."""
    if has:
        return Due.PROOF
    everybody, administrators = Demanded.EVERYBODY, Demanded.ADMINISTRATORS
    must = demanded is everybody or (admin and demanded is administrators)
    return Due.ENROLMENT if must else Due.NOTHING

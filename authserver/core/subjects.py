"""Accounts, and the subjects of rules."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from authserver.core.errors import Refused
from authserver.core.names import account_name

ANONYMOUS = "anonymous"


class AccountKind(StrEnum):
    USER = "user"
    ROBOT = "robot"


class Role(IntEnum):
    """What an account or a credential may do in the administration. Each includes those before."""

    NOBODY = 0
    AUDITOR = 1
    ADMINISTRATOR = 2

    @classmethod
    def of(cls, *, admin: bool, auditor: bool) -> "Role":
        """Return the role of an account or a credential with these marks."""
        if admin:
            return cls.ADMINISTRATOR
        return cls.AUDITOR if auditor else cls.NOBODY

    @property
    def what(self) -> str:
        """Return what the role opens, in words that follow "would" and "may"."""
        return "administer" if self is Role.ADMINISTRATOR else "read the administration"


class AdminTokens(StrEnum):
    """Whether a new administrator or auditor keeps app tokens that open the administration."""

    KEEP = "keep"
    REVOKE = "revoke"


class SubjectKind(StrEnum):
    USER = "user"
    ROBOT = "robot"
    GROUP = "group"
    ANONYMOUS = "anonymous"
    AUTHENTICATED = "authenticated"
    EVERYONE = "everyone"


# Looked up once, since each token request compares many subjects.
_ANONYMOUS, _AUTHENTICATED = SubjectKind.ANONYMOUS, SubjectKind.AUTHENTICATED
_EVERYONE, _GROUP = SubjectKind.EVERYONE, SubjectKind.GROUP

NAMED_SUBJECTS = frozenset({SubjectKind.USER, SubjectKind.ROBOT, SubjectKind.GROUP})


@dataclass(frozen=True, slots=True)
class Account:
    """An account that asks. ``groups`` are the names of all its groups."""

    name: str
    kind: AccountKind = AccountKind.USER
    groups: frozenset[str] = frozenset()

    @property
    def subject(self) -> "Subject":
        return Subject(SubjectKind(self.kind.value), self.name)


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a rule. Only a user, a robot or a group has a ``name``."""

    kind: SubjectKind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else str(self.kind)

    def binds(self, account: Account | None) -> bool:
        """Whether this subject includes ``account`` (None: no credentials)."""
        if account is None:
            return self.kind is _EVERYONE or self.kind is _ANONYMOUS
        if self.kind is _GROUP:
            return self.name in account.groups
        if self.kind is _AUTHENTICATED or self.kind is _EVERYONE:
            return True
        return self.name == account.name and self.kind.value == account.kind


def subject(text: str) -> Subject:
    """Read ``user:NAME``, ``robot:NAME``, ``group:NAME``, or one of the three words.

    Raises:
        Refused: the text is something else, or the name cannot be a name.
    """
    word, colon, name = text.partition(":")
    try:
        kind = SubjectKind(word)
    except ValueError:
        hint = "" if colon else f"; for the user of that name write user:{text}"
        raise Refused(
            f"unknown subject {text!r}: write user:NAME, robot:NAME, group:NAME, "
            f"anonymous, authenticated or everyone{hint}"
        ) from None
    if (kind in NAMED_SUBJECTS) != bool(colon):
        raise Refused(f"the subject {text!r} {'takes no' if colon else 'needs a'} name after it")
    return Subject(kind, account_name(name) if colon else "")


def subjects(text: str) -> tuple[Subject, ...]:
    """Read subjects with commas between them, as in ``user:alice,group:dev``.

    Raises:
        Refused: a part is no subject.
    """
    return tuple(subject(part) for part in text.split(","))

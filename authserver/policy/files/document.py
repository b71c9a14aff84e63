"""The values of a policy file, and what can be wrong with one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from authserver.core import rules
from authserver.core.errors import Refused
from authserver.core.subjects import AccountKind, Role, Subject, SubjectKind

Place = tuple[str | int, ...]
"""The keys and positions that lead to a value."""


class Location(NamedTuple):
    """Where something stands: its place, and its line in a file; 0 where there is no file."""

    place: Place
    line: int

    def __str__(self) -> str:
        return f"on line {self.line}" if self.line else f"at {'/'.join(map(str, self.place))}"


NOWHERE = Location((), 0)


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """A registry entry; ``token_ttl`` in seconds, None for the setting's."""

    service: str
    token_ttl: int | None = None
    refresh_tokens: bool = True
    app_tokens_only: bool = False
    challenge_anonymous: bool = False
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """A user or a robot, without its secrets. ``disabled`` None leaves that as it is.

    ``was`` is what it may have been called before.
    """

    name: str
    kind: AccountKind
    disabled: bool | None = None
    admin: bool = False
    auditor: bool = False
    app_tokens_only: bool = False
    owner: str | None = None
    description: str = ""
    outlives_owner: bool = False
    was: str | None = field(default=None, compare=False)
    location: Location = field(default=NOWHERE, compare=False)

    @property
    def subject(self) -> Subject:
        return Subject(SubjectKind(self.kind.value), self.name)

    @property
    def role(self) -> Role:
        return Role.of(admin=self.admin, auditor=self.auditor)


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """A group; ``was`` as of an account. ``locations`` are where a file names its members."""

    name: str
    members: frozenset[Subject] = frozenset()
    was: str | None = field(default=None, compare=False)
    location: Location = field(default=NOWHERE, compare=False)
    locations: Mapping[Subject, Location] = field(default_factory=dict, compare=False)

    @property
    def subject(self) -> Subject:
        return Subject(SubjectKind.GROUP, self.name)


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """One rule with its comment. In a file the rule's id is 0."""

    rule: rules.Rule
    comment: str = ""
    delegation: int | None = None
    location: Location = field(default=NOWHERE, compare=False)

    @property
    def meaning(self) -> rules.Rule:
        """The identity of the rule: all but its id and whether it is enabled."""
        return replace(self.rule, id=0, enabled=True)


@dataclass(frozen=True, slots=True)
class DelegationEntry:
    """A delegation: the members of a group may write rules. In a file ``id`` is 0."""

    group: str
    service: str
    pattern: str
    actions: frozenset[str]
    comment: str = ""
    id: int = field(default=0, compare=False)
    location: Location = field(default=NOWHERE, compare=False)

    @property
    def bounds(self) -> tuple[str, str, str, frozenset[str]]:
        """The identity of the delegation."""
        return self.group, self.service, self.pattern, self.actions


@dataclass(frozen=True, slots=True)
class AssertionLine:
    """One line of ``tests``, as it is written."""

    text: str
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy file. A section that it does not have is None, and stays as it is in the store."""

    file: str = "policy"
    registries: Mapping[str, RegistryEntry] | None = None
    accounts: Mapping[str, AccountEntry] | None = None
    groups: Mapping[str, GroupEntry] | None = None
    rules: Sequence[RuleEntry] | None = None
    delegations: Sequence[DelegationEntry] | None = None
    tests: Sequence[AssertionLine] | None = None

    @property
    def says_something(self) -> bool:
        """Whether the file has a section besides ``tests``."""
        sections = (self.registries, self.accounts, self.groups, self.rules, self.delegations)
        return any(section is not None for section in sections)


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """What is wrong with a policy, and where."""

    location: Location
    text: str

    @property
    def line(self) -> int:
        return self.location.line


class BadPolicy(Refused):
    """A policy file is no good. The message has a line for each of ``problems``."""

    def __init__(self, file: str, problems: Iterable[PolicyProblem]) -> None:
        self.file = file
        self.problems = sorted(set(problems), key=lambda problem: (problem.line, problem.text))
        super().__init__("\n".join(f"{file}:{p.line}: {p.text}" for p in self.problems))

"""The interface of a condition, and the circumstances of a request that it looks at."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import ClassVar, Self

from authserver.core.addresses import Address

Value = Sequence[str] | datetime | None
"""The value of a field. No texts and None both mean that the field says nothing."""


class ValueKind(Enum):
    """How the surfaces take a value: as a list of texts, or as one time."""

    TEXTS = "texts"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class ConditionField:
    """One value of a condition, from which the API, policy files and options are derived.

    ``check`` raises Refused where one of the texts is no good.
    """

    name: str
    kind: ValueKind
    description: str
    option: str
    option_help: str
    metavar: str | None = None
    check: Callable[[str], object] = str

    @property
    def empty(self) -> Value:
        """The value of a rule without this condition."""
        return [] if self.kind is ValueKind.TEXTS else None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where a request comes from, and when; None where that is not known.

    What is not known never widens access: an allow does not hold under a condition on it, a deny
    does.
    """

    address: Address | None = None
    at: datetime | None = None


UNKNOWN = Circumstances()


@dataclass(frozen=True, slots=True)
class Hindrance:
    """What keeps a rule from applying; ``unknown`` where the circumstances do not tell.

    ``name`` is for ``--json``, ``text`` for messages.
    """

    name: str
    text: str
    unknown: bool = False

    def __str__(self) -> str:
        return self.text


class Condition(ABC):
    """One condition that a request must meet. Subclasses are frozen and can be compared."""

    __slots__ = ()

    FIELDS: ClassVar[tuple[ConditionField, ...]]
    HINDRANCES: ClassVar[tuple[Hindrance, ...]]
    """What :meth:`unmet` may return, the nearest to being met first."""
    ABSENT: ClassVar[str]
    """What a message says of a credential without this condition."""
    REMOVAL: ClassVar[tuple[str, str]]
    """The option that removes the condition from a rule, and its help."""

    @classmethod
    @abstractmethod
    def parse(cls, values: Mapping[str, Value]) -> Self | None:
        """Make the condition of values whose texts were checked; None if its own say nothing.

        Raises:
            Refused: the values contradict each other.
        """

    @abstractmethod
    def values(self) -> dict[str, Value]:
        """Return the fields that say something, as :meth:`parse` reads them."""

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def unmet(self, circumstances: Circumstances) -> Hindrance | None:
        """Return what keeps the condition from being met; None if it is met."""

    @abstractmethod
    def within(self, other: Self) -> bool:
        """Whether ``other`` is met wherever and whenever this one is."""

    @property
    def begin(self) -> datetime | None:
        """The time before which the condition is never met, if there is one."""
        return None

    @property
    def end(self) -> datetime | None:
        """The time from which on the condition is never met again, if there is one."""
        return None

    def since(self, at: datetime) -> Self | None:  # noqa: ARG002 - for those that begin
        """Return what the condition demands of requests at ``at`` or later; None if nothing."""
        return self

    @classmethod
    def samples(
        cls,
        conditions: Collection[Self],  # noqa: ARG003 - for those that have samples
        circumstances: Circumstances,
    ) -> list[Circumstances]:
        """Return circumstances that stand for all that these conditions tell apart.

        They differ from ``circumstances`` only in what those leave open.
        """
        return [circumstances]

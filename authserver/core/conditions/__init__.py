"""The conditions of rules: from which networks a rule holds, and when.

Each kind of condition is one class in one file, which parses, prints, stores and evaluates it.
:data:`KINDS` is the table of them. The rest of the program knows no kind: the fields of the API
and of policy files, the options of ``acl`` and the column of the store are derived from the
table. So a new kind of condition is a new file here and an entry in the table.

``core.rules`` evaluates conditions, ``policy`` compares them. A condition knows nothing but the
circumstances of a request: no store, no clock.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from authserver.core.conditions.condition import (
    UNKNOWN,
    Circumstances,
    Condition,
    ConditionField,
    Hindrance,
    Value,
    ValueKind,
)
from authserver.core.conditions.networks import SourceNetworks
from authserver.core.conditions.period import Period
from authserver.core.errors import Refused
from authserver.core.times import format_time

__all__ = [
    "ALWAYS",
    "FIELDS",
    "HINDRANCES",
    "KINDS",
    "UNKNOWN",
    "Circumstances",
    "Condition",
    "ConditionField",
    "Conditions",
    "Hindrance",
    "Period",
    "SourceNetworks",
    "Value",
    "ValueKind",
    "samples",
]

KINDS: tuple[type[Condition], ...] = (SourceNetworks, Period)
"""All kinds of conditions, in the order in which rules print them."""

FIELDS = {field.name: field for kind in KINDS for field in kind.FIELDS}
HINDRANCES = tuple(hindrance for kind in KINDS for hindrance in kind.HINDRANCES)

_C = TypeVar("_C", bound=Condition)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of one rule, all of which must be met: at most one of each kind."""

    parts: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, values: Mapping[str, Value]) -> "Conditions":
        """Read conditions from the values of fields, those that the rule has.

        Raises:
            Refused: a value is no good, or this version knows no such field.
        """
        _check(values)
        return _parsed(values)

    def values(self) -> dict[str, Any]:
        """Return the fields that say something, as :meth:`parse` reads them."""
        return {name: value for part in self.parts for name, value in part.values().items()}

    def as_json(self) -> dict[str, object]:
        """Return every field for ``--json``, the API and audit records."""
        values = self.values()
        return {name: _plain(values.get(name, field.empty)) for name, field in FIELDS.items()}

    def dump(self) -> str:
        """Return the conditions as the store holds them: equal conditions as equal texts."""
        values = {name: _plain(value) for name, value in self.values().items()}
        return json.dumps(values, separators=(",", ":"), sort_keys=True)

    @classmethod
    def load(cls, text: str) -> "Conditions":
        """Read what :meth:`dump` returned.

        Raises:
            Refused: it has a condition that this version does not know, or does not understand.
        """
        return _load(text)

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __str__(self) -> str:
        return " ".join(map(str, self.parts))

    def find(self, kind: type[_C]) -> _C | None:
        """Return the condition of a kind, or None."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    def within(self, other: "Conditions") -> bool:
        """Whether ``other`` is met wherever and whenever these are."""
        return next(self.beyond(other), None) is None

    def beyond(self, other: "Conditions") -> Iterator[str]:
        """Give, in words, each of these conditions that reaches beyond ``other``."""
        for wider in other.parts:
            own = self.find(type(wider))
            if own is None:
                yield wider.ABSENT
            elif not own.within(wider):
                yield str(own)

    @property
    def begin(self) -> datetime | None:
        """The time before which these are never met, if there is one."""
        return max((part.begin for part in self.parts if part.begin is not None), default=None)

    @property
    def end(self) -> datetime | None:
        """The time from which on these are never met again, if there is one."""
        return min((part.end for part in self.parts if part.end is not None), default=None)

    def since(self, at: datetime) -> "Conditions":
        """Return what is demanded of requests at ``at`` or later."""
        rest = (part.since(at) for part in self.parts)
        return Conditions(tuple(part for part in rest if part is not None))

    def require_end_after(self, now: datetime) -> None:
        """Check that a rule under these conditions can still apply.

        Raises:
            Refused: they can never be met again.
        """
        if (end := self.end) is not None and end <= now:
            raise Refused(f"the rule would have ended already, at {format_time(end)}")


ALWAYS = Conditions()


def samples(rules: Iterable[Conditions], circumstances: Circumstances) -> list[Circumstances]:
    """Return circumstances that stand for all that the conditions of these rules tell apart.

    The first are ``circumstances`` themselves.
    """
    parts = {part for conditions in rules for part in conditions.parts}
    points = [circumstances]
    for kind in KINDS:
        own = [part for part in parts if type(part) is kind]
        points = [sample for each in points for sample in kind.samples(own, each)]
    return points


# The rules of one store have few different conditions, and most have none.
@lru_cache(maxsize=1024)
def _load(text: str) -> Conditions:
    try:
        stored = json.loads(text)
        _require_known(stored)
        # Their texts were checked when they were written. Reading is part of changes, during which
        # all other writers wait.
        values = {name: _value(FIELDS[name], value) for name, value in stored.items()}
        return _parsed(values) or ALWAYS
    except (ValueError, TypeError, AttributeError):
        raise Refused("its conditions are not what a version writes") from None


def _parsed(values: Mapping[str, Value]) -> Conditions:
    parts = (kind.parse(values) for kind in KINDS)
    return Conditions(tuple(part for part in parts if part is not None))


def _check(values: Mapping[str, Value]) -> None:
    _require_known(values)
    for name, value in values.items():
        for text in value if isinstance(value, Sequence) else ():
            FIELDS[name].check(text)


def _require_known(names: Iterable[str]) -> None:
    for name in names:
        if name not in FIELDS:
            raise Refused(f"unknown condition {name!r}; known: {', '.join(FIELDS)}")


def _plain(value: Value) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _value(field: ConditionField, stored: Any) -> Value:  # noqa: ANN401 - by its kind
    """Return a stored value. One that is not understood must not count as no condition."""
    if field.kind is ValueKind.TIME:
        at = datetime.fromisoformat(stored)
        if at.tzinfo is None:
            raise ValueError(field.name)
        return at
    if not isinstance(stored, list) or not stored or not all(isinstance(x, str) for x in stored):
        raise ValueError(field.name)
    return stored

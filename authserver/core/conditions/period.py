"""The condition on the time of a request: from when on, and until when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from authserver.core.conditions.condition import (
    Circumstances,
    Condition,
    ConditionField,
    Hindrance,
    Value,
    ValueKind,
)
from authserver.core.errors import Refused
from authserver.core.times import format_time

_NOT_YET = Hindrance("not_yet", "it is not valid yet")
_EXPIRED = Hindrance("expired", "it is not valid any more")
_UNKNOWN = Hindrance("time_unknown", "it is valid for a time only", unknown=True)


@dataclass(frozen=True, slots=True)
class Period(Condition):
    """The request comes at ``begin`` or later and before ``end``, of which one may be None."""

    begin: datetime | None = None
    end: datetime | None = None

    FIELDS = (
        ConditionField(
            "valid_from",
            ValueKind.TIME,
            "It holds from then on.",
            "--valid-from",
            "A date, a time, or 2h from now.",
        ),
        ConditionField(
            "valid_until",
            ValueKind.TIME,
            "It holds until then.",
            "--valid-until",
            "A date, a time, or 30d from now.",
        ),
    )
    HINDRANCES = (_NOT_YET, _EXPIRED, _UNKNOWN)
    ABSENT = "for ever"
    REMOVAL = ("--always", "Neither a beginning nor an end.")

    @classmethod
    def parse(cls, values: Mapping[str, Value]) -> Self | None:
        begin, end = (_time(values.get(field.name)) for field in cls.FIELDS)
        if begin and end and begin >= end:
            raise Refused(f"the rule would end ({format_time(end)}) before it begins")
        return cls(begin, end) if begin or end else None

    def values(self) -> dict[str, Value]:
        times = {"valid_from": self.begin, "valid_until": self.end}
        return {name: time for name, time in times.items() if time is not None}

    def __str__(self) -> str:
        parts = [f"after {format_time(self.begin)}"] if self.begin else []
        parts += [f"until {format_time(self.end)}"] if self.end else []
        return " ".join(parts)

    def unmet(self, circumstances: Circumstances) -> Hindrance | None:
        at = circumstances.at
        if at is None:
            return _UNKNOWN
        if self.begin is not None and at < self.begin:
            return _NOT_YET
        return _EXPIRED if self.end is not None and at >= self.end else None

    def within(self, other: Self) -> bool:
        begins = other.begin is None or (self.begin is not None and self.begin >= other.begin)
        ends = other.end is None or (self.end is not None and self.end <= other.end)
        return begins and ends

    def since(self, at: datetime) -> Self | None:
        if self.begin is None or self.begin > at:
            return self
        return None if self.end is None else type(self)(None, self.end)


def _time(value: Value) -> datetime | None:
    return value if isinstance(value, datetime) else None

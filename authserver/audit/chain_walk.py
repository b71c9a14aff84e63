"""A walk along a chain of audit records: finds records that are not as they were written."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from authserver.audit.chain import AuditKey, Head, RecordKind, same

MAX_GAP = 1_000_000
"""By how many numbers a chain is believed to have gone on after its last record."""


class What(StrEnum):
    """What was done to records, as far as it shows."""

    ALTERED = "altered"
    MISSING = "missing"
    REORDERED = "reordered"
    REPEATED = "repeated"
    REPLACED = "replaced since it was sealed"
    UNREADABLE = "unreadable"
    UNCHAINED = "in no chain"
    DIFFERENT = "not what the log says"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong: with the records ``first`` to ``last`` of a chain, or with something else.

    ``row`` is the id of the record's row, where it has one.
    """

    chain: str
    what: str
    first: int | None = None
    last: int | None = None
    row: int | None = None

    @property
    def records(self) -> int:
        """Return how many records it is about, 1 for something else."""
        return 1 if self.first is None else (self.last or self.first) - self.first + 1

    def __str__(self) -> str:
        place = f"chain {self.chain}" if self.chain else "the records"
        row = f" (row {self.row})" if self.row is not None else ""
        if self.first is None:
            return f"{place}{row}: {self.what}"
        if self.last in (None, self.first):
            return f"{place}: record {self.first}{row} is {self.what}"
        return f"{place}: records {self.first} to {self.last} are {self.what}"


class Gap(NamedTuple):
    """Numbers that were passed over."""

    first: int
    last: int


@dataclass
class Walk:
    """Takes the records of one chain in the order of their rows, from ``begin`` on."""

    key: AuditKey
    chain: str
    kind: RecordKind
    begin: Head
    sealed: Head
    faults: list[Fault] = field(default_factory=list)
    seq: int = field(init=False)
    # What the HMAC of the record before may be: if record and HMAC do not fit, either was altered.
    _macs: tuple[str, ...] = field(init=False)
    # Numbers that were passed over, in order, and those of them that came later.
    _gaps: list[Gap] = field(default_factory=list)
    _late: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.seq, self._macs = self.begin.seq, (self.begin.mac,)

    @property
    def settled(self) -> Head | None:
        """Return where the walk stands; None if it takes the next record to tell by which HMAC."""
        if len(self._macs) == 1:
            return Head(self.seq, self._macs[0])
        return self.sealed if self.seq == self.sealed.seq and self._ends_with(self.sealed) else None

    @property
    def gaps(self) -> list[Fault]:
        """Return what has not come, though later records have."""
        late = sorted(self._late)
        return [
            Fault(self.chain, What.MISSING, first, last)
            for gap in self._gaps
            for first, last in _without(gap, late)
        ]

    def step(self, place: Head, text: str, row: int) -> None:
        """Look at the next record: its number and HMAC, what it says, and its row."""
        seq, mac = place.seq, place.mac
        made = [self._made(before, text) for before in self._macs]
        if any(same(mac, one) for one in made):
            if seq != self.seq + 1:
                self._fault(What.ALTERED, self.seq + 1, row)
            self._stand(self.seq + 1, mac)
        elif seq == self.seq + 1:
            self._fault(What.ALTERED, seq, row)
            self._stand(seq, mac, made[0])
        elif seq > self.seq:
            self._gaps.append(Gap(self.seq + 1, seq - 1))
            self._stand(seq, mac)
        else:
            self._behind(seq, row)

    def _made(self, before: str, text: str) -> str:
        return self.key.link(self.chain, Head(self.seq, before), self.kind, text).head.mac

    def _stand(self, seq: int, *macs: str) -> None:
        self.seq, self._macs = seq, macs
        if seq == self.sealed.seq and not any(same(self.sealed.mac, mac) for mac in macs):
            self._fault(What.REPLACED, seq, None)

    def _behind(self, seq: int, row: int) -> None:
        index = bisect_left(self._gaps, seq, key=_last)
        passed_over = index < len(self._gaps) and self._gaps[index].first <= seq
        if passed_over and seq not in self._late:
            self._late.add(seq)
            self._fault(What.REORDERED, seq, row)
        else:
            self._fault(What.REPEATED, seq, row)

    def _fault(self, what: What, seq: int, row: int | None) -> None:
        self.faults.append(Fault(self.chain, what, seq, seq, row))

    def end(self, head: Head | None) -> Iterator[Fault]:
        """Say what is wrong, now that there is no more.

        ``head`` is where the chain should end; None if that cannot be read.
        """
        yield from self.faults
        yield from self.gaps
        longest = self.longest(head)
        if self.seq < longest:
            yield Fault(self.chain, What.MISSING, self.seq + 1, longest)
        if head is None or head.seq != longest or not self._ends_with(head):
            yield Fault(self.chain, "where it ends was altered in the store")

    def longest(self, head: Head | None) -> int:
        """Return how many records there have been, as far as that is to be believed."""
        longest = max(self.sealed.seq, self.seq)
        is_believed = head is not None and head.seq <= longest + MAX_GAP
        return max(longest, head.seq) if head is not None and is_believed else longest

    def _ends_with(self, head: Head) -> bool:
        return head.seq != self.seq or head.mac in self._macs


def _last(gap: Gap) -> int:
    return gap.last


def _without(gap: Gap, late: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give what is left of a gap without the sorted numbers that came later."""
    first, last = gap
    for seq in late[bisect_left(late, first) : bisect_right(late, last)]:
        if first < seq:
            yield first, seq - 1
        first = seq + 1
    if first <= last:
        yield first, last

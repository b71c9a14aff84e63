"""Going along a chain of audit records, to find what is not as it was written."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from authserver.audit.chain import AuditKey, Head, Kind, same

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

    ``row`` is the id of the record's row, where it has one. ``evidence`` is an HMAC over all that
    was found and nothing else covers: by it a fault is known again. What can be put right has
    none, like where a chain ends.
    """

    chain: str
    what: str
    first: int | None = None
    last: int | None = None
    row: int | None = None
    evidence: str | None = None

    def __str__(self) -> str:
        place = f"chain {self.chain}" if self.chain else "the records"
        row = f" (row {self.row})" if self.row is not None else ""
        if self.first is None:
            return f"{place}{row}: {self.what}"
        if self.last in (None, self.first):
            return f"{place}: record {self.first}{row} is {self.what}"
        return f"{place}: records {self.first} to {self.last} are {self.what}"


class Gap(NamedTuple):
    """Numbers that were passed over, and what the record is that came instead."""

    first: int
    last: int
    evidence: str


@dataclass
class Walk:
    """Is shown the records of one chain in the order of their rows, from ``begin`` on."""

    key: AuditKey
    chain: str
    kind: Kind
    begin: Head
    sealed: Head
    faults: list[Fault] = field(default_factory=list)
    seq: int = field(init=False)
    place: tuple[Head, int | None] = field(init=False)
    """The last record that has the number and the HMAC by which it is known, and its row."""
    row: int | None = None
    """The row where it stands, if it has gone on."""
    # What the HMAC of the record before may be: if record and HMAC do not fit, either was altered.
    _macs: tuple[str, ...] = field(init=False)
    # Numbers that were passed over, in order, and those of them that came later.
    _gaps: list[Gap] = field(default_factory=list)
    _late: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.seq, self._macs = self.begin.seq, (self.begin.mac,)
        self.place = self.begin, None

    @property
    def head(self) -> Head:
        """Return where the walk stands."""
        return self.settled or Head(self.seq, self._macs[0])

    @property
    def settled(self) -> Head | None:
        """Return where the walk stands; None if it takes the next record to tell by which HMAC."""
        if len(self._macs) == 1:
            return Head(self.seq, self._macs[0])
        return self.sealed if self.seq == self.sealed.seq and self._ends_with(self.sealed) else None

    def resumed(self, seq: int) -> Head:
        """Return where the chain would go on from here without what was up to ``seq``."""
        return self.key.resumed(self.chain, self._macs[0], seq)

    @property
    def last(self) -> Head:
        """Return where the walk stands by the HMAC that is stored, be it altered or not."""
        return Head(self.seq, self._macs[0])

    @property
    def gaps(self) -> list[Fault]:
        """Return what has not come, though later records have."""
        late = sorted(self._late)
        return [
            self._missing(gap, first, last)
            for gap in self._gaps
            for first, last in _without(gap, late)
        ]

    def _missing(self, gap: Gap, first: int, last: int) -> Fault:
        evidence = self.key.finding(gap.evidence, first, last)
        return Fault(self.chain, What.MISSING, first, last, evidence=evidence)

    def step(self, place: Head, text: str, row: int) -> None:
        """Look at the next record: its number and HMAC, what it says, and its row."""
        seq, mac = place.seq, place.mac
        made = [self._made(before, text) for before in self._macs]
        if any(same(mac, one) for one in made):
            if seq != self.seq + 1:
                self._fault(What.ALTERED, self.seq + 1, row, self._found(row, seq, mac, text))
            self._stand(row, self.seq + 1, mac)
        elif seq == self.seq + 1:
            self._fault(What.ALTERED, seq, row, self._found(row, seq, mac, text))
            self._stand(row, seq, mac, made[0])
        elif seq > self.seq:
            # One of ours that goes on after a gap says by its HMAC what it is.
            what = ["resumed"] if self._resumes(place, text) else [row, seq, mac, text]
            self._gaps.append(Gap(self.seq + 1, seq - 1, self._found(*what)))
            self._stand(row, seq, mac)
        else:
            self._behind(seq, row, self._found(row, seq, mac, text))
            return
        if seq == self.seq:
            self.place = place, row

    def _made(self, before: str, text: str) -> str:
        return self.key.link(self.chain, Head(self.seq, before), self.kind, text).head.mac

    def _resumes(self, place: Head, text: str) -> bool:
        before = self.resumed(place.seq - 1)
        return same(place.mac, self.key.link(self.chain, before, self.kind, text).head.mac)

    def _found(self, *said: object) -> str:
        """Return the evidence of what was found here: after a record that is what it is."""
        return self.key.finding(self.chain, self.seq, self._macs[0], *said)

    def _stand(self, row: int, seq: int, *macs: str) -> None:
        self.row, self.seq, self._macs = row, seq, macs
        if seq == self.sealed.seq and not any(same(self.sealed.mac, mac) for mac in macs):
            self._fault(What.REPLACED, seq, None, None)

    def _behind(self, seq: int, row: int, found: str) -> None:
        index = bisect_left(self._gaps, seq, key=_last)
        passed_over = index < len(self._gaps) and self._gaps[index].first <= seq
        if passed_over and seq not in self._late:
            self._late.add(seq)
            # What came in its place is covered by nothing else.
            evidence = self.key.finding(self._gaps[index].evidence, found)
            self._fault(What.REORDERED, seq, row, evidence)
        else:
            self._fault(What.REPEATED, seq, row, found)

    def _fault(self, what: What, seq: int, row: int | None, evidence: str | None) -> None:
        self.faults.append(Fault(self.chain, what, seq, seq, row, evidence))

    def end(self, head: Head | None) -> Iterator[Fault]:
        """Say what is wrong, now that there is no more.

        ``head`` is where the chain should end; None if that cannot be read.
        """
        yield from self.faults
        yield from self.gaps
        longest = self.longest(head)
        if self.seq < longest:
            yield self._cut_off(Gap(self.seq + 1, longest, self._found("resumed")))
        if head is None or head.seq != longest or not self._ends_with(head):
            yield Fault(self.chain, "where it ends was altered in the store")

    def _cut_off(self, gap: Gap) -> Fault:
        # Only changes go on after that; any other chain is put right by ending where it does.
        if self.kind is Kind.CHANGE:
            return self._missing(gap, gap.first, gap.last)
        return Fault(self.chain, What.MISSING, gap.first, gap.last)

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
    first, last, _ = gap
    for seq in late[bisect_left(late, first) : bisect_right(late, last)]:
        if first < seq:
            yield first, seq - 1
        first = seq + 1
    if first <= last:
        yield first, last

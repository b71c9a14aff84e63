"""Whether the audit records are as they were written."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from authserver.audit import accepted_faults, checkpoints, record_rows
from authserver.audit.accepted_faults import Acceptance
from authserver.audit.chain import AuditKey, Head, Kind, same
from authserver.audit.chain_walk import Fault, Walk, What
from authserver.audit.checkpoints import End
from authserver.audit.log_reader import Logged
from authserver.audit.record_rows import CHANGES
from authserver.audit.recorder import BEGIN
from authserver.db.models import AuditRecord, AuditState

Progress = Callable[[int, int], None]
"""Is told how many records were verified, and how many there are."""


@dataclass
class Report:
    """What verifying found.

    ``faults`` are those that nobody has accepted. ``verified`` and ``unchained`` are numbers of
    records by kind; the latter are from before there were chains. ``open`` is how many came after
    the checkpoint; that is None if it cannot be read.
    """

    faults: list[Fault]
    verified: dict[str, int]
    unchained: dict[str, int]
    chains: int
    checkpoint: int | None
    checkpoint_at: datetime | None
    open: int
    logged: int | None
    accepted: list[Acceptance]


@dataclass
class Verification:
    """One run over one consistent state of the store."""

    session: Session
    key: AuditKey
    logged: Logged | None
    progress: Progress
    state: AuditState | None = field(init=False)
    names: Mapping[int, str] = field(init=False)
    ends: Mapping[int, End] = field(init=False)
    accepted: list[Acceptance] = field(init=False)
    troubles: list[str] = field(init=False)
    held: set[int] = field(default_factory=set)
    """The chains whose marks are as they were written."""
    walks: dict[int, Walk] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    verified: dict[str, int] = field(default_factory=dict)
    unchained: dict[str, int] = field(default_factory=dict)
    _lowest: dict[Kind, int] = field(default_factory=dict)

    def run(self) -> Report:
        """Verify all records.

        Raises:
            NotReady: there is no checkpoint.
        """
        self.state = checkpoints.state_of(self.session)
        self.names, self.ends = checkpoints.names(self.session), checkpoints.ends(self.session)
        self.accepted = accepted_faults.read(self.session, self.key)
        self.troubles = list(checkpoints.troubles(self.session, self.key, self.state))
        self.faults += [Fault("", trouble) for trouble in self.troubles]
        self._begin()
        self._walk()
        for number, walk in self.walks.items():
            self.faults += walk.end(self.head(number))
        self.faults += list(self._not_as_accepted())
        if self.logged is not None:
            self.faults += self._not_in_store(self.logged)
        return self._report()

    def _begin(self) -> None:
        marks = checkpoints.marks(self.session)
        for number, name in self.names.items():
            kind = Kind.CHANGE if number == CHANGES else Kind.TOKEN
            # A mark that is missing or altered was told of already.
            genesis = self.key.genesis(name)
            begin, sealed = genesis, genesis
            if number in marks and checkpoints.holds(self.key, marks[number], name):
                mark = checkpoints.mark_of(marks[number], name)
                begin, sealed = mark.trimmed, mark.sealed
                self.held.add(number)
            self.walks[number] = Walk(self.key, name, kind, begin, sealed)

    def head(self, number: int) -> Head | None:
        """Return where a chain should end; None if that cannot be read."""
        end = self.ends.get(number)
        return end and Head(end.seq, end.mac)

    def _walk(self) -> None:
        total, done = record_rows.count(self.session), 0
        before = self._before_chains()
        for kind in Kind:
            self.verified[kind] = self.unchained[kind] = 0
            for row_id, row in record_rows.rows(self.session, kind):
                self._lowest.setdefault(kind, row_id)
                self._look(kind, row_id, row, before[kind])
                done += 1
                self.progress(done, total)

    def _look(self, kind: Kind, row_id: int, row: RowMapping | None, before: int) -> None:
        said = None if row is None else record_rows.said(kind, row)
        if row is None or said is None:
            self._stray(kind, row_id, What.UNREADABLE)
            return
        number = CHANGES if kind is Kind.CHANGE else row["chain_id"]
        place = record_rows.place(row)
        if number not in self.walks or place is None:
            self._look_at_unchained(kind, row_id, row, before)
            return
        walk = self.walks[number]
        walk.step(place, said, row_id)
        self.verified[kind] += 1
        if self.logged is not None:
            self._compare(self.logged, walk.chain, place, said, row_id)

    def _not_as_accepted(self) -> Iterator[Fault]:
        """Give what was accepted and is neither as it was found nor pruned.

        Somebody may have taken away what bore witness: a record of another chain, and it is whole.
        """
        found = {fault.evidence for fault in self.faults}
        for fault in (fault for one in self.accepted for fault in one.faults):
            if fault.evidence in found | {None} or self._may_be_pruned(fault):
                continue
            evidence = self.key.finding("changed", fault.evidence)
            found.add(evidence)
            yield Fault(fault.chain, f"no longer what was accepted: {fault}", evidence=evidence)

    def _may_be_pruned(self, fault: Fault) -> bool:
        kind = accepted_faults.kind(fault)
        lowest = self._lowest.get(kind)
        if kind is Kind.CHANGE or (fault.row and lowest is not None and fault.row >= lowest):
            return False
        # Up to where chains were pruned is sealed; a record in no chain goes with some of them.
        pruned = {walk.chain: walk.begin.seq for walk in self.walks.values()}
        if fault.first is not None and fault.chain in pruned:
            return (fault.last or fault.first) <= pruned[fault.chain]
        return any(pruned.values())

    def _look_at_unchained(self, kind: Kind, row_id: int, row: RowMapping, before: int) -> None:
        places = [row["seq"], row["mac"], row.get("chain_id")]
        if 0 < row_id <= before and places == [None, None, None]:
            self.unchained[kind] += 1
        else:
            self._stray(kind, row_id, What.UNCHAINED)

    def _stray(self, kind: Kind, row_id: int, what: What) -> None:
        found = record_rows.evidence(self.session, self.key, kind, row_id)
        self.faults.append(Fault("", f"the {kind} record is {what}", row=row_id, evidence=found))

    def _before_chains(self) -> dict[Kind, int]:
        """Return the highest id of each kind that a record had before there were chains."""
        firsts = record_rows.rows(self.session, Kind.CHANGE, AuditRecord.seq == 1)
        _, first = next(firsts, (0, None))
        try:
            told: Any = first["after"]["before"] if first and first["action"] == BEGIN else {}
            return {kind: int(told.get(kind, 0)) for kind in Kind}
        except (ValueError, TypeError, LookupError, AttributeError):
            return dict.fromkeys(Kind, 0)

    def _compare(self, logged: Logged, chain: str, place: Head, said: str, row_id: int) -> None:
        where = chain, place.seq
        claimed, texts = logged.claims.pop(where, set()), logged.texts.pop(where, {said})
        if not all(same(mac, place.mac) for mac in claimed) or texts != {said}:
            self.faults.append(Fault(chain, What.DIFFERENT, place.seq, place.seq, row_id))

    def _not_in_store(self, logged: Logged) -> Iterator[Fault]:
        yield from logged.faults
        if self.state is not None and logged.checkpoint > self.state.number:
            was = f"the log has checkpoint {logged.checkpoint}, the store is at {self.state.number}"
            yield Fault("", f"the store was set back: {was}")
        walks = {walk.chain: walk for walk in self.walks.values()}
        for (chain, seq), macs in sorted(logged.claims.items()):
            walk = walks.get(chain)
            begin = walk.begin if walk else Head(0, "")
            if begin.seq == seq and not all(same(begin.mac, mac) for mac in macs):
                yield Fault(chain, What.DIFFERENT, seq)
            end = max(walk.seq, walk.sealed.seq) if walk else 0
            if seq > end:
                yield Fault(chain, f"{What.MISSING}: the log has it", end + 1, seq)
        # What is left of these is in no row, though that was accepted.
        for chain, seq in sorted(logged.texts):
            walk = walks.get(chain)
            if walk is None or walk.begin.seq < seq <= max(walk.seq, walk.sealed.seq):
                yield Fault(chain, f"{What.MISSING}: the log has it", seq)

    def _report(self) -> Report:
        accepted = accepted_faults.evidence(self.accepted)
        return Report(
            faults=[fault for fault in self.faults if fault.evidence not in accepted],
            verified=self.verified,
            unchained=self.unchained,
            chains=len(self.walks),
            checkpoint=None if self.state is None else self.state.number,
            checkpoint_at=None if self.state is None else self.state.at,
            open=sum(max(0, walk.seq - walk.sealed.seq) for walk in self.walks.values()),
            logged=None if self.logged is None else self.logged.lines,
            accepted=self.accepted,
        )

"""Whether the audit records are as they were written."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from authserver.audit.links import AuditKey, Head, Kind, same
from authserver.audit.logged import Logged
from authserver.audit.walking import Fault, Walk, What
from authserver.db import checkpoints, reading
from authserver.db.chained import CHANGES
from authserver.db.models import AuditChain, AuditRecord, AuditState
from authserver.db.trail import BEGIN

Progress = Callable[[int, int], None]
"""Is told how many records were verified, and how many there are."""


@dataclass
class Report:
    """What verifying found.

    ``verified`` and ``unchained`` are numbers of records by kind; the latter are from before there
    were chains. ``open`` is how many came after the checkpoint; that is None if it cannot be read.
    """

    faults: list[Fault]
    verified: dict[str, int]
    unchained: dict[str, int]
    chains: int
    checkpoint: int | None
    checkpoint_at: datetime | None
    open: int
    logged: int | None


@dataclass
class Verification:
    """One run over one consistent state of the store."""

    session: Session
    key: AuditKey
    logged: Logged | None
    progress: Progress
    state: AuditState | None = field(init=False)
    chains: Mapping[int, AuditChain] = field(init=False)
    walks: dict[int, Walk] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    verified: dict[str, int] = field(default_factory=dict)
    unchained: dict[str, int] = field(default_factory=dict)

    def run(self) -> Report:
        """Verify all records.

        Raises:
            NotReady: there is no checkpoint.
        """
        self.state = checkpoints.state_of(self.session)
        self.chains = checkpoints.chains(self.session)
        for trouble in checkpoints.troubles(self.session, self.key, self.state):
            self.faults.append(Fault("", trouble))
        self._begin()
        self._walk()
        for number, walk in self.walks.items():
            chain = self.chains[number]
            self.faults += walk.end(Head(chain.seq, chain.mac))
        if self.logged is not None:
            self.faults += self._not_in_store(self.logged)
        return self._report()

    def _begin(self) -> None:
        marks = checkpoints.marks(self.session)
        for number, chain in self.chains.items():
            kind = Kind.CHANGE if number == CHANGES else Kind.TOKEN
            # A mark that is missing or altered was told of already.
            genesis = self.key.genesis(chain.name)
            begin, sealed = genesis, genesis
            if number in marks and checkpoints.holds(self.key, marks[number], chain.name):
                mark = checkpoints.mark_of(marks[number], chain.name)
                begin, sealed = mark.trimmed, mark.sealed
            self.walks[number] = Walk(self.key, chain.name, kind, begin, sealed)

    def _walk(self) -> None:
        total, done = reading.count(self.session), 0
        before = self._before_chains()
        for kind in Kind:
            self.verified[kind] = self.unchained[kind] = 0
            for row_id, row in reading.rows(self.session, kind):
                self._look(kind, row_id, row, before[kind])
                done += 1
                self.progress(done, total)

    def _look(self, kind: Kind, row_id: int, row: RowMapping | None, before: int) -> None:
        said = None if row is None else reading.said(kind, row)
        if row is None or said is None:
            self.faults.append(Fault("", f"the {kind} record is unreadable", row=row_id))
            return
        number = CHANGES if kind is Kind.CHANGE else row["chain_id"]
        place = reading.place(row)
        if number not in self.walks or place is None:
            self._look_at_unchained(kind, row_id, row, before)
            return
        walk = self.walks[number]
        walk.step(place, said, row_id)
        self.verified[kind] += 1
        self._compare(walk.chain, place, row_id)

    def _look_at_unchained(self, kind: Kind, row_id: int, row: RowMapping, before: int) -> None:
        places = [row["seq"], row["mac"], row.get("chain_id")]
        if 0 < row_id <= before and places == [None, None, None]:
            self.unchained[kind] += 1
        else:
            self.faults.append(Fault("", f"the {kind} record is {What.UNCHAINED}", row=row_id))

    def _before_chains(self) -> dict[Kind, int]:
        """Return the highest id of each kind that a record had before there were chains."""
        firsts = reading.rows(self.session, Kind.CHANGE, AuditRecord.seq == 1)
        _, first = next(firsts, (0, None))
        try:
            told: Any = first["after"]["before"] if first and first["action"] == BEGIN else {}
            return {kind: int(told.get(kind, 0)) for kind in Kind}
        except (ValueError, TypeError, LookupError, AttributeError):
            return dict.fromkeys(Kind, 0)

    def _compare(self, chain: str, place: Head, row_id: int) -> None:
        claimed = self.logged.claims.pop((chain, place.seq), None) if self.logged else None
        if claimed is not None and not same(claimed, place.mac):
            self.faults.append(Fault(chain, What.DIFFERENT, place.seq, place.seq, row_id))

    def _not_in_store(self, logged: Logged) -> Iterator[Fault]:
        yield from logged.faults
        if self.state is not None and logged.checkpoint > self.state.number:
            was = f"the log has checkpoint {logged.checkpoint}, the store is at {self.state.number}"
            yield Fault("", f"the store was set back: {was}")
        walks = {walk.chain: walk for walk in self.walks.values()}
        for (chain, seq), mac in sorted(logged.claims.items()):
            walk = walks.get(chain)
            begin = walk.begin if walk else Head(0, "")
            if begin.seq == seq and not same(begin.mac, mac):
                yield Fault(chain, What.DIFFERENT, seq)
            end = max(walk.seq, walk.sealed.seq) if walk else 0
            if seq > end:
                yield Fault(chain, f"{What.MISSING}: the log has it", end + 1, seq)

    def _report(self) -> Report:
        return Report(
            faults=self.faults,
            verified=self.verified,
            unchained=self.unchained,
            chains=len(self.chains),
            checkpoint=None if self.state is None else self.state.number,
            checkpoint_at=None if self.state is None else self.state.at,
            open=sum(max(0, walk.seq - walk.sealed.seq) for walk in self.walks.values()),
            logged=None if self.logged is None else self.logged.lines,
        )

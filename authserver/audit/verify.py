"""Verification: whether the audit records are as they were written."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from authserver.audit import checkpoints, closed_chains, record_rows
from authserver.audit.chain import AuditKey, Head, RecordKind, same
from authserver.audit.chain_walk import Fault, Walk, What
from authserver.audit.checkpoints import End
from authserver.audit.closed_chains import NONE_CLOSED, ClosedChains, Restart
from authserver.audit.log_reader import Logged
from authserver.audit.record_rows import CHANGES
from authserver.audit.recorder import BEGIN
from authserver.db.models import AuditClosedChain, AuditRecord, AuditState

Progress = Callable[[int, int], None]
"""Takes how many records were verified, and how many there are. It may raise :class:`Enough`."""


class Enough(Exception):
    """The verification is to end before its end."""


@dataclass
class VerificationReport:
    """What a verification found.

    ``faults`` raise an alarm; ``closed_faults`` are in closed chains and raise no alarm.
    ``verified``, ``closed`` and ``unchained`` are numbers of records by kind: in open chains, in
    closed ones, and in no chain that could be verified. ``open`` is how many came after the
    checkpoint. ``checkpoint`` is None if it cannot be read. ``complete`` says that there was time
    for all records; otherwise the oldest were verified.
    """

    faults: list[Fault]
    verified: dict[str, int]
    unchained: dict[str, int]
    chains: int
    checkpoint: int | None
    checkpoint_at: datetime | None
    open: int
    logged: int | None
    restarts: list[Restart]
    closed: dict[str, int]
    closed_faults: list[Fault]
    complete: bool

    def as_json(self) -> dict[str, Any]:
        """Return it for ``--json`` and the API."""
        return (
            {"ok": not self.faults}
            | asdict(self)
            | {"checkpoint_at": self.checkpoint_at and self.checkpoint_at.isoformat()}
            | {"faults": [_fault(each) for each in self.faults]}
            | {"closed_faults": [_fault(each) for each in self.closed_faults]}
            | {"restarts": [_restart(each) for each in self.restarts]}
        )


def _fault(fault: Fault) -> dict[str, Any]:
    return asdict(fault) | {"text": str(fault)}


def _restart(restart: Restart) -> dict[str, Any]:
    return {
        "at": restart.at.isoformat(),
        "actor": restart.actor,
        "reason": restart.reason,
        "record": restart.record,
        "faults": restart.faults,
    }


def verify_for(session: Session, key: AuditKey, seconds: float) -> VerificationReport:
    """Verify the records from the oldest on, for at most so many seconds."""
    end = monotonic() + seconds

    def progress(done: int, total: int) -> None:
        if monotonic() >= end and done < total:
            raise Enough

    return Verification(session, key, None, progress).run()


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
    restart: Restart | None = field(init=False)
    closed_chains: ClosedChains = field(init=False)
    walks: dict[int, Walk] = field(default_factory=dict)
    closed_walks: dict[int, Walk] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    closed_faults: list[Fault] = field(default_factory=list)
    verified: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RecordKind, 0))
    closed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RecordKind, 0))
    unchained: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RecordKind, 0))

    def run(self) -> VerificationReport:
        """Verify all records, or as many as there is time for."""
        self.state = checkpoints.state_of(self.session)
        self.names, self.ends = checkpoints.names(self.session), checkpoints.ends(self.session)
        self.restart = closed_chains.current(self.session, self.key)
        self.closed_chains = ClosedChains(self.session)
        troubles = checkpoints.troubles(self.session, self.key, self.state)
        self.faults += [Fault("", trouble) for trouble in troubles]
        self._begin()
        unlike = self.closed_chains.unlike(closed_chains.restarts(self.session, self.key))
        self.closed_faults += [Fault("", trouble) for trouble in unlike]
        try:
            self._walk()
        except Enough:
            # What is missing so far may come later.
            self.faults += [fault for walk in self.walks.values() for fault in walk.faults]
            self.closed_faults += [
                fault for walk in self.closed_walks.values() for fault in walk.faults
            ]
            return self._report(complete=False)
        for number, walk in self.walks.items():
            self.faults += walk.end(self._head(number))
        for walk in self.closed_walks.values():
            self.closed_faults += walk.end(walk.sealed)
        if self.logged is not None:
            self.faults += self._not_in_store(self.logged)
        return self._report(complete=True)

    def _begin(self) -> None:
        marks = checkpoints.marks(self.session)
        for number, name in self.names.items():
            kind = RecordKind.CHANGE if number == CHANGES else RecordKind.TOKEN
            # A mark that is missing or altered is among the troubles already.
            genesis = self.key.genesis(name)
            begin, sealed = genesis, genesis
            if number in marks and checkpoints.holds(self.key, marks[number], name):
                mark = checkpoints.mark_of(marks[number], name)
                begin, sealed = mark.trimmed, mark.sealed
            self.walks[number] = Walk(self.key, name, kind, begin, sealed)
        # Changes are never pruned: of their closed chains the first record is missed, too.
        for row in self.closed_chains.rows:
            if row.number == CHANGES and row.name:
                genesis = self.key.genesis(row.name)
                self.closed_walks[row.id] = self._closed_walk(row, RecordKind.CHANGE, genesis)

    def _head(self, number: int) -> Head | None:
        """Return where a chain should end; None if that cannot be read."""
        end = self.ends.get(number)
        return end and Head(end.seq, end.mac)

    def _walk(self) -> None:
        total, done = record_rows.count(self.session), 0
        last_closed = self.restart.last_ids if self.restart else NONE_CLOSED
        before = dict.fromkeys(RecordKind, 0) if self.restart else self._before_chains()
        for kind in RecordKind:
            for row_id, row in record_rows.rows(self.session, kind):
                if row_id <= last_closed[kind]:
                    self._look_at_closed(kind, row_id, row)
                else:
                    self._look(kind, row_id, row, before[kind])
                done += 1
                self.progress(done, total)

    def _look(self, kind: RecordKind, row_id: int, row: RowMapping | None, before: int) -> None:
        text = None if row is None else record_rows.text_of(kind, row)
        if row is None or text is None:
            self.faults.append(_stray(kind, row_id, What.UNREADABLE))
            return
        number = CHANGES if kind is RecordKind.CHANGE else row["chain_id"]
        place = record_rows.place(row)
        if number not in self.walks or place is None:
            self._look_at_unchained(kind, row_id, row, before)
            return
        walk = self.walks[number]
        walk.step(place, text, row_id)
        self.verified[kind] += 1
        self._compare(walk.chain, place, row_id)

    def _look_at_unchained(
        self, kind: RecordKind, row_id: int, row: RowMapping, before: int
    ) -> None:
        places = [row["seq"], row["mac"], row.get("chain_id")]
        if 0 < row_id <= before and places == [None, None, None]:
            self.unchained[kind] += 1
        else:
            self.faults.append(_stray(kind, row_id, What.UNCHAINED))

    def _look_at_closed(self, kind: RecordKind, row_id: int, row: RowMapping | None) -> None:
        text = None if row is None else record_rows.text_of(kind, row)
        if row is None or text is None:
            self.closed_faults.append(_stray(kind, row_id, What.UNREADABLE))
            return
        place = record_rows.place(row)
        chain = self.closed_chains.find(kind, row.get("chain_id"), row_id)
        if chain is None or place is None:
            self.unchained[kind] += 1
            return
        is_first = chain.id not in self.closed_walks
        if is_first:
            self.closed_walks[chain.id] = self._closed_walk(chain, kind, place)
        walk = self.closed_walks[chain.id]
        if not (is_first and place == walk.begin):
            walk.step(place, text, row_id)
        self.closed[kind] += 1
        self._compare(walk.chain, place, row_id)

    def _closed_walk(self, chain: AuditClosedChain, kind: RecordKind, first: Head) -> Walk:
        """Return a walk along a closed chain.

        Where its oldest records were pruned nothing says where it goes on: its first record is
        believed.
        """
        is_whole = kind is RecordKind.CHANGE or first.seq == 1
        begin = self.key.genesis(chain.name) if is_whole else first
        return Walk(self.key, chain.name, kind, begin, Head(chain.seq, chain.mac))

    def _before_chains(self) -> dict[RecordKind, int]:
        """Return the highest id of each kind that a record had before there were chains."""
        firsts = record_rows.rows(self.session, RecordKind.CHANGE, AuditRecord.seq == 1)
        _, first = next(firsts, (0, None))
        try:
            before: Any = first["after"]["before"] if first and first["action"] == BEGIN else {}
            return {kind: int(before.get(kind, 0)) for kind in RecordKind}
        except (ValueError, TypeError, LookupError, AttributeError):
            return dict.fromkeys(RecordKind, 0)

    def _compare(self, chain: str, place: Head, row_id: int) -> None:
        """Compare a record with what the log has of its number."""
        claims = self.logged.claims.pop((chain, place.seq), ()) if self.logged else ()
        if not all(same(mac, place.mac) for mac in claims):
            self.faults.append(Fault(chain, What.DIFFERENT, place.seq, place.seq, row_id))

    def _not_in_store(self, logged: Logged) -> Iterator[Fault]:
        yield from logged.faults
        if self.state is not None and logged.checkpoint > self.state.number:
            was = f"the log has checkpoint {logged.checkpoint}, the store is at {self.state.number}"
            yield Fault("", f"the store was set back: {was}")
        begins = {walk.chain: walk.begin for walk in self.walks.values()}
        ends = {row.name: row.seq for row in self.closed_chains.rows}
        ends |= {walk.chain: max(walk.seq, walk.sealed.seq) for walk in self.walks.values()}
        for (chain, seq), macs in sorted(logged.claims.items()):
            begin, end = begins.get(chain), ends.get(chain, 0)
            if begin and begin.seq == seq and not all(same(begin.mac, mac) for mac in macs):
                yield Fault(chain, What.DIFFERENT, seq)
            if seq > end:
                yield Fault(chain, f"{What.MISSING}: the log has it", end + 1, seq)

    def _report(self, *, complete: bool) -> VerificationReport:
        return VerificationReport(
            faults=self.faults,
            verified=self.verified,
            unchained=self.unchained,
            chains=len(self.walks),
            checkpoint=None if self.state is None else self.state.number,
            checkpoint_at=None if self.state is None else self.state.at,
            open=sum(max(0, walk.seq - walk.sealed.seq) for walk in self.walks.values()),
            logged=None if self.logged is None else self.logged.lines,
            restarts=closed_chains.restarts(self.session, self.key),
            closed=self.closed,
            closed_faults=self.closed_faults,
            complete=complete,
        )


def _stray(kind: RecordKind, row_id: int, what: What) -> Fault:
    return Fault("", f"the {kind} record is {what}", row=row_id)

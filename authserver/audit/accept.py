"""Accepting faults of audit records: what was found is recorded, and sealed as it is."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from authserver.audit import accepted_faults, checkpoints, first_chains
from authserver.audit.chain import AuditKey, Head, Mark
from authserver.audit.chain_walk import Fault, Walk
from authserver.audit.record_rows import CHANGES, CHANGES_NAME
from authserver.audit.recorder import Trail
from authserver.audit.verify import Verification
from authserver.core.errors import ChainsLost, Refused
from authserver.db.models import AuditChain, AuditMark, AuditRecord, AuditState, TokenRecord
from authserver.db.store import Change

MAX_FAULTS = 10_000
MAX_REASON = 1000
IN_ONE = 100
"""How many faults are in one change: syslog daemons take no endless lines."""

# Each is begun by a process, or put in by somebody.
MAX_CHAINS = 100_000


def require_acceptable(faults: Sequence[Fault], reason: str) -> None:
    """Check that faults can be accepted.

    Raises:
        Refused: there are too many, or there is no reason.
    """
    if not reason.strip() or len(reason) > MAX_REASON:
        raise Refused(f"say why, in at most {MAX_REASON} characters")
    if len(faults) > MAX_FAULTS:
        raise Refused(
            f"{len(faults)} faults are too many to be looked through, the most is {MAX_FAULTS}: "
            "restore a backup, or restore one without token records and accept that they are gone"
        )


def accept(change: Change, found: Verification, faults: Sequence[Fault], reason: str) -> None:
    """Record that ``faults``, of those that were found, are accepted, and seal what there is.

    Only what was found is covered: what is altered afterwards is a fault again.

    Raises:
        Refused: as :func:`require_acceptable`, or the store is not as it was found.
    """
    require_acceptable(faults, reason)
    Accepting(change, found, faults).run(reason)


def begin_anew(change: Change, faults: Sequence[Fault], reason: str) -> None:
    """Begin the audit chains anew where they, or their key, are lost, and record that.

    Records that there are stay, in no chain: whether they were altered cannot be said any more.

    Raises:
        Refused: as :func:`require_acceptable`, or they are there.
        NotReady: there is no master key.
    """
    require_acceptable(faults, reason)
    with suppress(ChainsLost):
        Trail.of(change).key(change.session)
        raise Refused("the audit chains are there: look again, and then accept")
    for table in (AuditMark, AuditChain, AuditState):
        change.session.execute(delete(table))
    nowhere = {"seq": None, "mac": None}
    change.session.execute(update(AuditRecord).values(nowhere))
    change.session.execute(update(TokenRecord).values(nowhere | {"chain_id": None}))
    first_chains.begin_trail(change)
    after = {"reason": reason, "faults": [accepted_faults.told(fault) for fault in faults]}
    change.record(accepted_faults.ACCEPT, "audit records", after=after)


@dataclass
class Accepting:
    """One acceptance, in the transaction of its change."""

    change: Change
    found: Verification
    faults: Sequence[Fault]

    @property
    def _session(self) -> Session:
        return self.change.session

    @property
    def _key(self) -> AuditKey:
        return self.found.key

    def run(self, reason: str) -> None:
        self._require_same()
        self._put_rows_right()
        for number, walk in self.found.walks.items():
            if number != CHANGES and (self._is_meant(walk) or number not in self.found.held):
                self._close(number, walk)
        resumed = self._go_on()
        self._record(reason, resumed)
        begin = self.found.walks[CHANGES].begin
        Trail.of(self.change).reseal(self._session, self.change.at, begin)

    def _require_same(self) -> None:
        """Check that what is sealed, and the chains that end wrongly, are as they were found."""
        state = checkpoints.lock(self._session)
        now = list(checkpoints.troubles(self._session, self._key, state))
        ends = checkpoints.ends(self._session)
        ending = [number for number in self.found.walks if self._must_end(number)]
        changed = [number for number in ending if ends.get(number) != self.found.ends.get(number)]
        if now != self.found.troubles or changed:
            raise Refused("the audit records were changed meanwhile: look again, and then accept")

    def _must_end(self, number: int) -> bool:
        """Whether a chain is given another end: nobody may have gone on with it."""
        return number == CHANGES or self.found.head(number) != _end(self.found.walks[number])

    def _is_meant(self, walk: Walk) -> bool:
        return any(fault.chain == walk.chain for fault in self.faults)

    def _put_rows_right(self) -> None:
        """Have each chain a row and a mark that can be read, so that there is something to seal."""
        session = self._session
        if checkpoints.state_of(session) is None:
            was = {"number": 0, "at": self.change.at, "chains": 0, "mac": ""}
            session.execute(update(AuditState).values(was))
        there, marked = checkpoints.chains(session), checkpoints.marks(session)
        for number in self._numbers():
            name = self.found.names.get(number) or checkpoints.lost(number)
            if number not in marked or number not in there:
                session.execute(delete(AuditMark).where(AuditMark.chain_id == number))
            if number not in there:
                session.execute(delete(AuditChain).where(AuditChain.id == number))
                checkpoints.add_chain(session, self._key, number, name)
            elif number not in marked:
                checkpoints.add_mark(session, self._key, number, name)

    def _numbers(self) -> Sequence[int]:
        """Return the numbers of all chains that there were.

        Raises:
            Refused: somebody has put in one of a number that none of ours has.
        """
        numbers = [*self._session.scalars(select(AuditChain.id))]
        numbers += self._session.scalars(select(AuditMark.chain_id))
        last = max([1, *numbers, self.found.state.chains if self.found.state else 0])
        if min(numbers, default=1) < 1 or last > MAX_CHAINS:
            raise Refused("there are chains whose numbers are none of ours: restore a backup")
        return range(1, last + 1)

    def _close(self, number: int, walk: Walk) -> None:
        """Seal a chain as it was found; one that ends wrongly ends where its records do."""
        mark, (sealed, row) = checkpoints.marks(self._session)[number], walk.place
        if self._must_end(number):
            # Who has written it finds it changed, and begins another.
            chain, end = checkpoints.chains(self._session)[number], _end(walk)
            chain.seq, chain.mac, chain.record_id = end.seq, end.mac, walk.row
            chain.ended = False
        checkpoints.set_mark(mark, self._key, Mark(walk.chain, sealed, row, walk.begin))
        self._session.flush()

    def _go_on(self) -> str | None:
        """Have the chain of changes go on after all that it had, so that no number comes twice.

        Return the HMAC after which it is taken up again, if something is missing there.
        """
        walk = self.found.walks[CHANGES]
        longest = walk.longest(self.found.head(CHANGES))
        is_whole = longest == walk.seq
        head = walk.last if is_whole else walk.resumed(longest)
        chain = checkpoints.chains(self._session)[CHANGES]
        chain.name, chain.ended = CHANGES_NAME, False
        chain.seq, chain.mac, chain.record_id = head.seq, head.mac, walk.row
        self._session.flush()
        return None if is_whole else walk.last.mac

    def _record(self, reason: str, resumed: str | None) -> None:
        parts = range(0, len(self.faults), IN_ONE)
        for number, begin in enumerate(parts, 1):
            part = self.faults[begin : begin + IN_ONE]
            after: dict[str, Any] = {
                "reason": reason,
                "faults": [accepted_faults.told(fault) for fault in part],
            }
            if resumed is not None and number == 1:
                after["resumed"] = resumed
            if len(parts) > 1:
                after["part"] = f"{number} of {len(parts)}"
            self.change.record(accepted_faults.ACCEPT, "audit records", after=after)


def _end(walk: Walk) -> Head:
    """Return where a chain's records end, by what is stored where it can be."""
    place, _ = walk.place
    return place if place.seq == walk.seq else walk.head

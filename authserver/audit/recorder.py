"""The chains of audit records: one of all changes, and one of each process's token requests.

Changes come one after the other anyway, so they share a chain, which each takes a step on in its
own transaction. Processes that serve write token requests at the same time; each has its own chain
and waits for no other. When it ends in good order a later one goes on with it.
"""

import json
import re
import secrets
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, cast

import structlog
from sqlalchemy import RowMapping, Table, delete, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, SessionTransaction

from authserver.audit import checkpoints, closed_chains
from authserver.audit.chain import KEY_BYTES, AuditKey, Head, Link, RecordKind
from authserver.audit.log_writer import Outbox
from authserver.audit.record_rows import (
    CHANGES,
    CHANGES_NAME,
    COLUMNS,
    FORMS,
    TOKEN_COLUMNS,
    TokenRow,
)
from authserver.audit.sinks import open_sink
from authserver.core.commands import program
from authserver.core.errors import ChainsLost, NotReady
from authserver.db.dialects.bulk_insert import Bulk
from authserver.db.dialects.unreadable_rows import held, is_of_a_value
from authserver.db.models import AuditChain, AuditMark, AuditRecord, AuditState, TokenRecord
from authserver.db.store import UNRECORDED, Change, Store
from authserver.keys.master_key import MasterKey, find_master_key
from authserver.keys.private_keys import master_key_id

BEGIN = "audit.begin"
"""The change that begins the chains of a store that has records already."""

MAX_HOST = 60
# Records on their way to the store, each in several forms, are most of what a busy worker's memory
# grows by.
AT_A_TIME = 256
_SEALED_AS = "audit trail"
_LINES = "audit lines"
_OWN = "audit chain"
_CHANGING = "audit chain of changes"
_TOKENS = Bulk(cast("Table", TokenRecord.__table__), [*TOKEN_COLUMNS, "chain_id", "seq", "mac"])

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of this process, and where it ends."""

    id: int
    name: str
    head: Head
    restart: int
    """The record of the restart before it began, 0 if there was none."""


@dataclass
class _Changing:
    """The chain of changes, which a transaction holds once it has recorded one, the last so far."""

    transaction: SessionTransaction | None
    chain: AuditChain
    last: AuditRecord | None = None

    def is_of(self, session: Session) -> bool:
        """Whether the session's transaction is that one: it may have been taken back."""
        return session.in_transaction() and self.transaction is session.get_transaction()


def lost(what: str) -> ChainsLost:
    """Return what to raise where the chains cannot be gone on with; ``what`` says why."""
    return ChainsLost(
        f"{what}: look into it, and restore a backup; or `{program()} audit restart`, which begins "
        "them anew and goes on telling so",
        what,
    )


def _sealed_key(session: Session) -> bytes:
    if session.scalar(select(AuditState.id)) is None:
        raise lost("the audit chains are gone: audit_state has no row")
    try:
        sealed = session.scalar(select(AuditState.key))
    except DBAPIError as error:
        if not is_of_a_value(error):
            raise
        sealed = None
    if not isinstance(sealed, bytes):
        raise lost("the key of the audit chains, in row 1 of audit_state, cannot be read")
    return sealed


def _locked(session: Session, chain: int) -> RowMapping | None:
    """Lock a chain's row and return its content, None if it is missing or cannot be read."""
    session.execute(select(AuditChain.id).where(AuditChain.id == chain).with_for_update()).all()
    table = cast("Table", AuditChain.__table__)
    return dict(held(session, table, [chain])).get(chain)


def _unknown(_: Session) -> MasterKey:
    raise NotReady(UNRECORDED)


@dataclass
class Trail:
    """Gives each audit record its place in a chain.

    ``master`` returns the store's master key when it is first needed. ``outbox`` takes the second
    copy of what was committed.
    """

    master: Callable[[Session], MasterKey] = _unknown
    outbox: Outbox = field(default_factory=Outbox)
    _key: AuditKey | None = field(default=None, repr=False)
    _own: Chain | None = None
    _tried: Chain | None = None

    @classmethod
    def of(cls, recorded: Store | Change) -> "Trail":
        """Return the trail that a store was opened with.

        Raises:
            NotReady: it was opened without one.
        """
        if not isinstance(recorded.trail, cls):
            raise NotReady(UNRECORDED)
        return recorded.trail

    def key(self, session: Session) -> AuditKey:
        """Return the key of the HMACs.

        Raises:
            NotReady: the store's master key is not there.
            ChainsLost: the chains' own key is not there, or does not open with it.
        """
        if self._key is None:
            sealed, master = _sealed_key(session), self.master(session)
            try:
                self._key = AuditKey(master.open(sealed, _SEALED_AS))
            except NotReady:
                what = "the key of the audit chains does not open with the master key"
                raise lost(what) from None
        return self._key

    def begin(
        self, session: Session, at: datetime, name: str = CHANGES_NAME, after: int | None = None
    ) -> None:
        """Make the key and the chain of changes. What was recorded before is in no chain.

        Raises:
            ChainsLost: there are chains, so somebody took their key away.
        """
        if session.scalars(select(AuditChain.id).limit(1)).first() is not None:
            raise lost("the key of the audit chains is gone")
        secret = secrets.token_bytes(KEY_BYTES)
        self._key = AuditKey(secret)
        sealed = self.master(session).seal(secret, _SEALED_AS)
        session.add(AuditState(id=1, key=sealed, number=0, at=at, chains=0, mac=""))
        session.flush()
        checkpoints.add_chain(session, self._key, CHANGES, name, after)
        checkpoints.sign(session, self._key, at)

    def restart(self, session: Session, at: datetime, name: str, after: int) -> None:
        """Leave all chains, and begin a chain of changes called ``name`` after that row.

        The key stays, unless it is lost. Numbers of checkpoints go on if the last can be read.
        """
        for table in (AuditMark, AuditChain):
            session.execute(delete(table))
        try:
            key = self.key(session)
        except ChainsLost:
            session.execute(delete(AuditState))
            self.begin(session, at, name, after)
            return
        if checkpoints.state_of(session) is None:
            unsigned = {"number": 0, "at": at, "chains": 0, "mac": ""}
            session.execute(update(AuditState).values(unsigned))
        checkpoints.add_chain(session, key, CHANGES, name, after)
        checkpoints.sign(session, key, at)

    def rewrap(self, session: Session, seal: Callable[[bytes, str], bytes]) -> None:
        """Seal the key with another master key. The HMACs stay what they are."""
        sealed = seal(self.key(session).secret, _SEALED_AS)
        session.execute(update(AuditState).values(key=sealed))

    def change(self, session: Session, record: AuditRecord) -> None:
        """Write the record of a change as the next of their chain.

        Raises:
            NotReady: there is no such chain, or no key to it.
        """
        # What a caller does to these later must not be what is stored.
        record.before, record.after = _as_stored(record.before), _as_stored(record.after)
        key, changing = self.key(session), _changing(session)
        chain = changing.chain
        text = FORMS[RecordKind.CHANGE].text(
            [getattr(record, name) for name in COLUMNS[RecordKind.CHANGE]]
        )
        link = key.link(chain.name, Head(chain.seq, chain.mac), RecordKind.CHANGE, text)
        record.seq, record.mac = link.head.seq, link.head.mac
        session.add(record)
        chain.seq, chain.mac, changing.last = record.seq, record.mac, record
        self._note(session, [link])

    def settle(self, session: Session) -> None:
        """Note which row the last change has got; to be done before the commit."""
        changing = session.info.get(_CHANGING)
        if changing is not None and changing.is_of(session) and changing.last is not None:
            session.flush()
            changing.chain.record_id = changing.last.id

    def tokens(self, session: Session, records: Iterable[TokenRow], at: datetime) -> None:
        """Write records of token requests, the next of this process's chain."""
        chain, records = self._chain(session, at), iter(records)
        head, key = chain.head, self.key(session)
        with _TOKENS.into(session.connection()) as insert:
            while some := list(islice(records, AT_A_TIME)):
                texts = [text for _, text in some]
                links = list(key.links(chain.name, head, RecordKind.TOKEN, texts))
                head = links[-1].head
                insert(
                    (*values, chain.id, link.head.seq, link.head.mac)
                    for (values, _), link in zip(some, links, strict=True)
                )
                self._note(session, links)
        of_chain = TokenRecord.chain_id == chain.id
        last = select(TokenRecord.id).where(of_chain).order_by(TokenRecord.id.desc()).limit(1)
        session.execute(
            update(AuditChain)
            .where(AuditChain.id == chain.id)
            .values(seq=head.seq, mac=head.mac, record_id=last.scalar_subquery())
        )
        self._tried = session.info[_OWN] = replace(chain, head=head)

    def _chain(self, session: Session, at: datetime) -> Chain:
        """Return this process's chain, as it is in the store; a new one if that is not ours."""
        if self._own is None:
            return self._start(session, at)
        row = _locked(session, self._own.id)
        head = Head(row["seq"], row["mac"]) if row else None
        # A commit may have been done though the answer to it was lost.
        for chain in (self._own, self._tried):
            if chain is not None and chain.head == head:
                return chain
        if self._last_restart(session) <= self._own.restart:
            log.error(
                f"audit records were altered in the store: run `{program()} audit verify`",
                chain=self._own.name,
                seq=self._own.head.seq,
            )
        return self._start(session, at)

    def _last_restart(self, session: Session) -> int:
        restart = closed_chains.current(session, self.key(session))
        return 0 if restart is None else restart.record

    def _start(self, session: Session, at: datetime) -> Chain:
        key = self.key(session)
        state = checkpoints.lock(session)
        trouble = checkpoints.trouble(session, key, state)
        # Servers are started for years: without this each change would seal ever more chains.
        if trouble is None and (ended := checkpoints.take_ended(session, besides=CHANGES)):
            return _chain_of(ended, self._last_restart(session))
        chain = checkpoints.add_chain(session, key, checkpoints.next_id(session), _new_name())
        # A checkpoint that does not hold is kept as it is: it is evidence.
        if state is not None and trouble is None:
            checkpoints.sign(session, key, max(at, state.at))
        return _chain_of(chain, self._last_restart(session))

    def end(self, session: Session) -> None:
        """Leave this process's chain to another that may come; it is to be sealed before."""
        if (own := self._own) is None:
            return
        is_ours = (AuditChain.id == own.id, AuditChain.mac == own.head.mac)
        session.execute(update(AuditChain).where(*is_ours).values(ended=True))
        session.info[_OWN] = None

    def checkpoint(self, session: Session, at: datetime) -> str | None:
        """Seal the heads of all chains. Return what is wrong, if so; that is then left unsealed."""
        self.settle(session)
        outcome = checkpoints.seal(session, self.key(session), at)
        if outcome.line:
            session.info.setdefault(_LINES, []).append(outcome.line)
        return outcome.trouble

    def committed(self, session: Session) -> None:
        """Take note that what was written with ``session`` is committed."""
        if _OWN in session.info:
            self._own = session.info.pop(_OWN)
        self.outbox.add(session.info.pop(_LINES, []))

    def _note(self, session: Session, links: Iterable[Link]) -> None:
        if self.outbox.sink is not None:
            session.info.setdefault(_LINES, []).extend(link.line for link in links)


def _changing(session: Session) -> _Changing:
    """Return the chain of changes, locked for this transaction.

    Raises:
        NotReady: the store has no chain of changes.
    """
    changing: _Changing | None = session.info.get(_CHANGING)
    if changing is not None and changing.is_of(session):
        return changing
    if _locked(session, CHANGES) is None:
        raise NotReady(
            "row 1 of audit_chain, where the chain of changes ends, is gone or cannot be read: "
            f"run `{program()} audit verify`, or restore a backup"
        )
    chain = session.get_one(AuditChain, CHANGES, populate_existing=True)
    changing_ = session.info[_CHANGING] = _Changing(session.get_transaction(), chain)
    return changing_


def trail_of(
    master_key_path: Path,
    audit_log: str | None = None,
    authorities: Path | None = None,
    max_bytes: int = 0,
    min_free: int = 0,
) -> Trail:
    """Return a trail whose master key is in a file, or beside it while it is being changed.

    The second copy of the records goes to ``audit_log``; see :func:`open_sink`.
    """
    return Trail(
        lambda session: find_master_key(master_key_path, master_key_id(session)),
        Outbox(open_sink(audit_log, authorities, max_bytes, min_free) if audit_log else None),
    )


def _chain_of(row: AuditChain, restart: int) -> Chain:
    return Chain(row.id, row.name, Head(row.seq, row.mac), restart)


def _as_stored(value: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else dict(json.loads(json.dumps(value)))


def _new_name() -> str:
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:MAX_HOST]
    return f"{host}-{secrets.token_hex(4)}"

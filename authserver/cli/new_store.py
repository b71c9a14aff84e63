"""The first state of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from authserver.audit import first_chains, former_acceptances, recorder
from authserver.core.errors import NotReady
from authserver.core.rules import CATALOG, Effect, new_rule
from authserver.core.subjects import Subject, SubjectKind
from authserver.db import accounts, models, rules, schema
from authserver.db import store as db_store
from authserver.keys import authorities
from authserver.registry import entries

if TYPE_CHECKING:
    from authserver.db.store import Store
    from authserver.keys.private_keys import Safe


@dataclass(frozen=True)
class First:
    """What a new store begins with. Without a hash the administrator cannot log in yet."""

    issuer: str
    service: str
    admin: str
    password_hash: str | None


def upgrade(store: Store, actor: str) -> tuple[str | None, str | None]:
    """Bring a store to head; return the revisions before and after.

    The audit chains begin in the transaction of the migration that brings them, and at no other
    time: where they are not there afterwards, somebody has taken them away.

    Raises:
        NotReady: the migration failed, or it brings the chains and there is no master key.
    """
    with schema.migrating(store.engine) as connection:
        before = schema.current(connection)
        schema.to_head(connection)
        with db_store.session_on(connection) as session:
            if session.get(models.StoreStateRow, 1) is not None:
                change = db_store.Change(session, actor, store.time(session), store.trail)
                bring_chains_over(change, before)
        after = schema.current(connection)
    store.trail.committed(session)
    return before, after


def bring_chains_over(change: db_store.Change, revision: str | None) -> None:
    """Do what a migration from ``revision`` does to the audit chains, in its transaction.

    Raises:
        NotReady: it takes the master key, and there is none.
    """
    if schema.has_no_chains(revision):
        first_chains.begin_first_trail(change)
    elif schema.has_no_closed_chains(revision):
        former_acceptances.bring_over(change)


def initialise(change: db_store.Change, safe: Safe, first: First) -> None:
    """Make the authority, a signing key, the registry entry, and the administrator with its rules.

    Raises:
        Refused: a name is no good.
        NotReady: there is a part of a store already.
    """
    session = change.session
    if authorities.any_there(session):
        raise NotReady("store_state has no row, and there are keys already: restore a backup")
    session.add(
        models.StoreStateRow(
            id=1,
            version=0,
            issuer=first.issuer,
            master_key_id=safe.master.id,
            created_at=change.at,
        )
    )
    session.flush()
    recorder.Trail.of(change).begin(session, change.at)
    change.record("store.init", "store", after={"issuer": first.issuer})
    authorities.add(change, safe, first.issuer)
    authorities.activate(change, safe)
    entries.add(change, first.service)
    admin = accounts.add_user(change, first.admin, first.password_hash, admin=True)
    # Being an administrator gives no repository right; these two rules do, and can be seen.
    subject = Subject(SubjectKind.USER, admin.name)
    for kind, pattern in (("repository", "**"), ("registry", CATALOG)):
        rule = new_rule(Effect.ALLOW, [subject], [pattern], "all", resource_type=kind)
        rules.add(change, rule, "made by init")
    change.trail.checkpoint(session, change.at)

"""The first state of a store."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from authserver.audit.links import Kind
from authserver.core.rules import CATALOG, Effect, new_rule
from authserver.core.subjects import Subject, SubjectKind
from authserver.db import accounts, authorities, registries, rules
from authserver.db.models import AuditRecord, StoreState, TokenRecord
from authserver.db.safe import Safe
from authserver.db.store import Change
from authserver.db.trail import BEGIN


@dataclass(frozen=True)
class First:
    """What a new store begins with. Without a hash the administrator cannot log in yet."""

    issuer: str
    service: str
    admin: str
    password_hash: str | None


def begin_trail(change: Change) -> None:
    """Begin the chains of audit records in a store that has records already: they stay outside.

    Raises:
        NotReady: the chains' key was taken away, or there is no master key.
    """
    tables: dict[Kind, Any] = {Kind.CHANGE: AuditRecord, Kind.TOKEN: TokenRecord}
    before = {
        kind.value: change.session.scalars(select(func.max(table.id))).one() or 0
        for kind, table in tables.items()
    }
    change.trail.begin(change.session, change.at)
    change.record(BEGIN, "store", after={"before": before})
    change.trail.checkpoint(change.session, change.at)


def initialise(change: Change, safe: Safe, first: First) -> None:
    """Make the authority, a signing key, the registry entry, and the administrator with its rules.

    Raises:
        Refused: a name is no good.
    """
    session = change.session
    session.add(
        StoreState(
            id=1,
            version=0,
            issuer=first.issuer,
            master_key_id=safe.master.id,
            created_at=change.at,
        )
    )
    session.flush()
    change.trail.begin(session, change.at)
    change.record("store.init", "store", after={"issuer": first.issuer})
    authorities.add(change, safe, first.issuer)
    authorities.activate(change, safe)
    registries.add(change, first.service)
    admin = accounts.add_user(change, first.admin, first.password_hash, admin=True)
    # Being an administrator gives no repository right; these two rules do, and can be seen.
    subject = Subject(SubjectKind.USER, admin.name)
    for kind, pattern in (("repository", "**"), ("registry", CATALOG)):
        said = new_rule(Effect.ALLOW, [subject], [pattern], "all", resource_type=kind)
        rules.add(change, said, "made by init")
    change.trail.checkpoint(session, change.at)

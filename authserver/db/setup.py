"""The first state of a store."""

from dataclasses import dataclass

from authserver.core.rules import CATALOG, Effect, new_rule
from authserver.core.subjects import Subject, SubjectKind
from authserver.db import accounts, authorities, registries, rules
from authserver.db.models import StoreState
from authserver.db.safe import Safe
from authserver.db.store import Change


@dataclass(frozen=True)
class First:
    """What a new store begins with. Without a hash the administrator cannot log in yet."""

    issuer: str
    service: str
    admin: str
    password_hash: str | None


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

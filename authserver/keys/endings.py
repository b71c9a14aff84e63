"""Which keys end, and how long before that an operator should know."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.db.models import SigningKey
from authserver.keys import rows, signing_keys
from authserver.keys.rows import SIGNS

BEFORE_AUTHORITY = timedelta(days=180)
BEFORE_LEAF = timedelta(days=10)
"""Less than is left of a leaf when it is rotated: it was not."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A key in use, its end, and what to do about it."""

    name: str
    at: datetime
    told_before: timedelta
    remedy: str

    def is_near(self, now: datetime) -> bool:
        return self.at - now < self.told_before

    @property
    def warning(self) -> str:
        return f"the {self.name} ends on {self.at:%Y-%m-%d %H:%M} UTC: {self.remedy}"


def of(session: Session) -> tuple[Ending, ...]:
    """Return the ends of the keys that are in use."""
    return tuple(_of(session))


def _of(session: Session) -> Iterator[Ending]:
    authority = rows.active_authority(session)
    remedy = "begin with `authserver key authority rotate`"
    yield Ending(f"authority {authority.id}", authority.not_after, BEFORE_AUTHORITY, remedy)
    leaf = signing_keys.signing(session)
    # One that ends with its authority cannot be followed by one that lives longer.
    if leaf is not None and leaf.not_after < authority.not_after:
        remedy = "it should have been rotated; the log says why it was not"
        yield Ending(f"signing key {leaf.id}", leaf.not_after, BEFORE_LEAF, remedy)
    for row in session.scalars(
        select(SigningKey).where(SIGNS, SigningKey.registry_id.is_not(None))
    ):
        service = row.for_registry.service if row.for_registry else ""
        remedy = f"begin with `authserver key rotate --registry {service}`"
        name = f"signing key {row.id} of the registry {service}"
        yield Ending(name, row.not_after, BEFORE_AUTHORITY, remedy)

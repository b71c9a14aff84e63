"""Whether what was checked on a snapshot holds in the store itself, at the moment of a change."""

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from authserver.core.errors import Forbidden, Unauthorized
from authserver.db.models import Account, AppToken


def require_account(session: Session, account_id: int) -> Account:
    """Return an account that is there and enabled.

    Raises:
        Unauthorized: it was removed or disabled meanwhile, or its owner was.
    """
    row = session.get(Account, account_id, options=[joinedload(Account.owner)])
    if row is None:
        raise Unauthorized("the account was removed meanwhile")
    owner_disabled = row.owner is not None and row.owner.disabled_at is not None
    if row.disabled_at is not None or (owner_disabled and not row.outlives_owner):
        raise Unauthorized("the account was disabled meanwhile")
    return row


def require_app_token(session: Session, digest: str, now: datetime) -> None:
    """Check that the secret with this digest is good for a change.

    Raises:
        Unauthorized: the token was revoked or rotated meanwhile, or has expired.
        Forbidden: the token was rotated. While the grace lasts this secret gets registry tokens,
            but who found it must not rotate the owner's new one away.
    """
    either = or_(AppToken.secret_hash == digest, AppToken.previous_hash == digest)
    row = session.scalars(select(AppToken).where(either)).one_or_none()
    if row is None:
        raise Unauthorized("the app token was revoked meanwhile")
    until = row.expires_at if row.secret_hash == digest else row.previous_until
    if until is not None and until <= now:
        raise Unauthorized("the app token has expired meanwhile")
    if row.secret_hash != digest:
        raise rotated()


def rotated() -> Forbidden:
    """Return what to raise where a secret that was rotated away would change something."""
    return Forbidden(
        "this app token was rotated, and its former secret changes nothing: use the new one"
    )

"""Whether what was checked on a snapshot holds in the store itself, at the moment of a change."""

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from authserver.core.errors import Unauthorized
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
    """Check that the secret with this digest is good.

    Raises:
        Unauthorized: the token was revoked or rotated meanwhile, or has expired.
    """
    either = or_(AppToken.secret_hash == digest, AppToken.previous_hash == digest)
    row = session.scalars(select(AppToken).where(either)).one_or_none()
    if row is None:
        raise Unauthorized("the app token was revoked meanwhile")
    until = row.expires_at if row.secret_hash == digest else row.previous_until
    if until is not None and until <= now:
        raise Unauthorized("the app token has expired meanwhile")

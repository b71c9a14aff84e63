"""The second check of a credential, inside the change that it makes."""

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload

from authserver.core.errors import Forbidden, Unauthorized
from authserver.db.models import AccountRow, AppTokenRow


def require_account(session: Session, account_id: int, name: str) -> AccountRow:
    """Return an account that still exists, is enabled, and has that name.

    Raises:
        Unauthorized: it was removed, disabled or renamed meanwhile, or its owner disabled.
    """
    row = session.get(AccountRow, account_id, options=[joinedload(AccountRow.owner)])
    if row is None:
        raise Unauthorized("the account was removed meanwhile")
    if row.name != name:
        # Another account may have the former name by now, also in what is looked up by name.
        raise Unauthorized("the account was renamed meanwhile")
    owner_disabled = row.owner is not None and row.owner.disabled_at is not None
    if row.disabled_at is not None or (owner_disabled and not row.outlives_owner):
        raise Unauthorized("the account was disabled meanwhile")
    return row


def require_app_token(session: Session, digest: str, now: datetime) -> None:
    """Check that the secret with this digest may make a change.

    Raises:
        Unauthorized: the token was revoked or rotated meanwhile, or has expired.
        Forbidden: the token was rotated. During the grace the old secret gets registry tokens, but
            somebody who found it must not rotate the owner's new one away.
    """
    either = or_(AppTokenRow.secret_hash == digest, AppTokenRow.previous_hash == digest)
    row = session.scalars(select(AppTokenRow).where(either)).one_or_none()
    if row is None:
        raise Unauthorized("the app token was revoked meanwhile")
    until = row.expires_at if row.secret_hash == digest else row.previous_until
    if until is not None and until <= now:
        raise Unauthorized("the app token has expired meanwhile")
    if row.secret_hash != digest:
        raise rotated()


def rotated() -> Forbidden:
    """Return the error for a change with a secret that was rotated away."""
    return Forbidden(
        "this app token was rotated, and its former secret changes nothing: use the new one"
    )

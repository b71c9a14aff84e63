"""Second factors in the store: TOTP secrets, passkeys and recovery codes.

What proves a factor is in ``auth.second_factor``. Whatever adds or removes a factor ends the
account's logins: they began without it, or with one that is gone.
"""

import base64
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from authserver.core.errors import NotFound, Refused
from authserver.core.names import one_line
from authserver.core.subjects import AccountKind
from authserver.db import logins
from authserver.db.models import AccountRow, RecoveryCodeRow, SecondFactorRow
from authserver.db.store import Change

MAX_FACTORS, MAX_TOTP, MAX_NAME = 20, 2, 64
"""Of one account. Each TOTP secret makes a guessed code three times as likely to be right."""

RECOVERY_CODES = 10
_CODE_BYTES, _GROUP = 15, 6


class FactorKind(StrEnum):
    TOTP = "totp"
    PASSKEY = "passkey"
    RECOVERY_CODE = "recovery code"


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """A passkey as a browser has made it."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: tuple[str, ...]


def listed(session: Session, account_id: int) -> Sequence[SecondFactorRow]:
    """Return the TOTP secrets and passkeys of an account, by id."""
    query = select(SecondFactorRow).where(SecondFactorRow.account_id == account_id)
    return session.scalars(query.order_by(SecondFactorRow.id)).all()


def codes_left(session: Session, account_id: int) -> int:
    """Return how many recovery codes an account has."""
    codes = select(func.count()).where(RecoveryCodeRow.account_id == account_id)
    return session.scalars(codes.select_from(RecoveryCodeRow)).one()


def get(session: Session, account_id: int, factor_id: int) -> SecondFactorRow:
    """Return one factor of an account.

    Raises:
        NotFound: the account has no such factor.
    """
    row = session.get(SecondFactorRow, factor_id)
    if row is None or row.account_id != account_id:
        raise NotFound(f"the account has no second factor {factor_id}")
    return row


def described(row: SecondFactorRow) -> dict[str, Any]:
    """Return a factor for ``--json``, without its secret."""
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name,
        "created_at": row.created_at.isoformat(),
        "last_used_at": row.last_used_at and row.last_used_at.isoformat(),
    }


def sealed_name(account_id: int) -> str:
    """Return the name that a TOTP secret is bound to when it is sealed, of one account."""
    return f"second factor of account {account_id}"


def add_totp(
    change: Change,
    account: AccountRow,
    name: str,
    sealed_secret: bytes,
    step: int,
    random: Callable[[int], bytes],
) -> list[str]:
    """Store a TOTP secret, whose code of ``step`` has been shown; return new recovery codes.

    There are none if the account had a factor already.

    Raises:
        Refused: the account is no user or has MAX_TOTP or MAX_FACTORS of them, or the name is
            empty, too long, or another factor's.
    """
    present = listed(change.session, account.id)
    if sum(row.kind == FactorKind.TOTP for row in present) >= MAX_TOTP:
        raise Refused(f"{account.name} has {MAX_TOTP} authenticator apps: remove one first")
    row = SecondFactorRow(
        kind=FactorKind.TOTP, sealed_secret=sealed_secret, last_step=step, sign_count=0
    )
    return _add(change, account, present, name, row, random)


def add_passkey(
    change: Change,
    account: AccountRow,
    name: str,
    passkey: NewPasskey,
    random: Callable[[int], bytes],
) -> list[str]:
    """Store a passkey; return new recovery codes as :func:`add_totp`.

    Raises:
        Refused: as :func:`add_totp`, or an account has this passkey already.
    """
    same = SecondFactorRow.credential_id == passkey.credential_id
    if change.session.scalars(select(SecondFactorRow.id).where(same)).first() is not None:
        raise Refused("this passkey is enrolled already")
    row = SecondFactorRow(
        kind=FactorKind.PASSKEY,
        credential_id=passkey.credential_id,
        public_key=passkey.public_key,
        sign_count=passkey.sign_count,
    )
    row.transports = list(passkey.transports)
    return _add(change, account, listed(change.session, account.id), name, row, random)


def _add(
    change: Change,
    account: AccountRow,
    present: Sequence[SecondFactorRow],
    name: str,
    row: SecondFactorRow,
    random: Callable[[int], bytes],
) -> list[str]:
    if account.kind != AccountKind.USER:
        raise Refused(f"{account.name} is a {account.kind}: only users have second factors")
    name = one_line(name.strip(), "a second factor's name")
    if not name or len(name) > MAX_NAME:
        raise Refused(f"a second factor's name has 1 to {MAX_NAME} characters")
    if any(other.name == name for other in present):
        raise Refused(f"{account.name} has a second factor {name} already: choose another name")
    if len(present) >= MAX_FACTORS:
        raise Refused(f"{account.name} has {MAX_FACTORS} second factors: remove one first")
    row.account_id, row.name, row.created_at = account.id, name, change.at
    row.transports = row.transports or []
    change.session.add(row)
    change.session.flush()
    change.record("second_factor.add", _target(account), after=_said(row))
    account.second_factor = True
    logins.end_all(change, account)
    return [] if present else _renewed(change, account, random)


def renew_codes(change: Change, account: AccountRow, random: Callable[[int], bytes]) -> list[str]:
    """Replace the recovery codes of an account; return the new ones, in words to show once.

    Raises:
        Refused: the account has no second factor.
    """
    if not account.second_factor:
        raise Refused(f"{account.name} has no second factor that a code could stand for")
    codes = _renewed(change, account, random)
    change.record("second_factor.codes", _target(account), after={"codes": len(codes)})
    return codes


def _renewed(change: Change, account: AccountRow, random: Callable[[int], bytes]) -> list[str]:
    _drop_codes(change.session, account)
    codes = [_new_code(random) for _ in range(RECOVERY_CODES)]
    change.session.add_all(
        RecoveryCodeRow(account_id=account.id, code_hash=code_hash(code)) for code in codes
    )
    change.session.flush()
    return codes


def _new_code(random: Callable[[int], bytes]) -> str:
    text = base64.b32encode(random(_CODE_BYTES)).decode().lower()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def code_hash(code: str) -> str:
    """Return the stored hash of a recovery code, however it is spaced.

    A code is 120 random bits, so no salt or cost is needed.
    """
    return sha256("".join(filter(str.isalnum, code)).lower().encode()).hexdigest()


def use_totp(change: Change, account: AccountRow, factor_id: int, step: int) -> bool:
    """Note that the code of ``step`` was shown; False if it or a later one was shown before."""
    row = change.session.get(SecondFactorRow, factor_id, populate_existing=True)
    if row is None or row.account_id != account.id or row.last_step is None:
        return False
    if row.last_step >= step:
        return False
    row.last_step, row.last_used_at = step, change.at
    change.record("second_factor.use", _target(account), after=_said(row))
    return True


def use_passkey(change: Change, account: AccountRow, row: SecondFactorRow, sign_count: int) -> None:
    """Note that a passkey has proved itself."""
    row.sign_count, row.last_used_at = sign_count, change.at
    change.record("second_factor.use", _target(account), after=_said(row))


def find_passkey(session: Session, account_id: int, credential_id: bytes) -> SecondFactorRow | None:
    """Return the account's passkey with this id."""
    query = select(SecondFactorRow).where(
        SecondFactorRow.account_id == account_id, SecondFactorRow.credential_id == credential_id
    )
    return session.scalars(query).one_or_none()


def find_code(session: Session, account_id: int, text: str) -> RecoveryCodeRow | None:
    """Return the account's recovery code that ``text`` is."""
    wanted, found = code_hash(text), None
    for row in session.scalars(
        select(RecoveryCodeRow).where(RecoveryCodeRow.account_id == account_id)
    ):
        found = row if hmac.compare_digest(row.code_hash, wanted) else found
    return found


def use_code(change: Change, account: AccountRow, text: str) -> bool:
    """Use up a recovery code; False if there is no such code, or it is used up."""
    row = find_code(change.session, account.id, text)
    if row is None:
        return False
    change.session.delete(row)
    change.session.flush()
    left = codes_left(change.session, account.id)
    change.record("second_factor.recovery_code", _target(account), after={"codes": left})
    return True


def remove(change: Change, account: AccountRow, factor_id: int) -> SecondFactorRow:
    """Remove one factor and end the account's logins; return what was removed.

    With the last one its recovery codes go.

    Raises:
        NotFound: the account has no such factor.
    """
    row = get(change.session, account.id, factor_id)
    change.session.delete(row)
    change.session.flush()
    change.record("second_factor.remove", _target(account), before=_said(row))
    if not listed(change.session, account.id):
        account.second_factor = False
        _drop_codes(change.session, account)
    logins.end_all(change, account)
    return row


def reset(change: Change, account: AccountRow) -> int:
    """Remove all factors and recovery codes of an account and end its logins; return how many.

    The recovery codes do not count. The password alone is enough from then on.
    """
    rows = listed(change.session, account.id)
    if not rows and not account.second_factor:
        return 0
    drop(change.session, account)
    account.second_factor = False
    before = {"factors": [_said(row) for row in rows]}
    change.record("second_factor.reset", _target(account), before=before)
    logins.end_all(change, account)
    return len(rows)


def drop(session: Session, account: AccountRow) -> None:
    """Delete all rows of an account, without a record."""
    session.execute(delete(SecondFactorRow).where(SecondFactorRow.account_id == account.id))
    _drop_codes(session, account)


def _drop_codes(session: Session, account: AccountRow) -> None:
    session.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.account_id == account.id))


def rewrap(session: Session, again: Callable[[bytes, str], bytes]) -> None:
    """Seal every TOTP secret anew, by ``again``, which takes the sealed one and its name."""
    for row in session.scalars(
        select(SecondFactorRow).where(SecondFactorRow.sealed_secret.is_not(None))
    ):
        row.sealed_secret = again(row.sealed_secret or b"", sealed_name(row.account_id))


def _said(row: SecondFactorRow) -> dict[str, object]:
    return {"id": row.id, "kind": row.kind, "name": row.name}


def _target(account: AccountRow) -> str:
    return f"{account.kind}:{account.name}"

"""App tokens: secrets that stand for an account, or for less than it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from authserver.core import scope, secret_tokens
from authserver.core.addresses import Network, parse_network
from authserver.core.bounds import Bounds, placed, str_limit
from authserver.core.commands import program
from authserver.core.errors import NotFound, Refused
from authserver.core.names import account_name
from authserver.core.rules import ACTIONS, Effect, Limit, rule_actions, rule_pattern
from authserver.core.secret_tokens import Prefix
from authserver.core.subjects import Role
from authserver.db import lists, lookup
from authserver.db.lists import Window
from authserver.db.models import AccountRow, AppTokenRow
from authserver.db.store import Change

Random = Callable[[int], bytes]

MAX_TOKENS = 500
"""App tokens of one account: a script that creates them in a loop must not fill the store."""

ADMIN, AUDITOR, SELF = "admin", "auditor", "self"
"""The entries of a ceiling that open the API; they are no limits on registries."""

RIGHTS = frozenset({ADMIN, AUDITOR, SELF})


@dataclass(frozen=True)
class Wanted:
    """A new app token: ``lifetime`` None means that it never expires.

    ``scopes`` may have :data:`RIGHTS`; without any scope it stands for all of the account on
    registries. It ends at ``latest``, if that comes before its lifetime is over. Texts are parsed
    here, before the change: all other writers wait for a change.

    Raises:
        Refused: the name, a scope or a network is malformed.
    """

    name: str
    lifetime: timedelta | None
    scopes: Sequence[str] = ()
    networks: Sequence[str] = ()
    latest: datetime | None = None

    def __post_init__(self) -> None:
        parsed = {
            "name": account_name(self.name),
            "scopes": tuple(map(_entry, self.scopes)),
            "networks": tuple(str(parse_network(text)) for text in self.networks),
        }
        for name, value in parsed.items():
            object.__setattr__(self, name, value)

    def end(self, now: datetime) -> datetime | None:
        """Return when a token that is created ``now`` expires."""
        return _earlier(None if self.lifetime is None else now + self.lifetime, self.latest)

    def bounds(self, account: str, now: datetime) -> Bounds:
        """Return the bounds of a token that is created ``now``."""
        networks = tuple(parse_network(text) for text in self.networks)
        return _bounds(account, self.scopes or None, networks, self.end(now))


def create(change: Change, account: str, wanted: Wanted, random: Random) -> tuple[AppTokenRow, str]:
    """Create an app token; return it and its secret, which is stored nowhere.

    Raises:
        NotFound: there is no such account.
        Refused: the name is taken, or the account has MAX_TOKENS.
    """
    owner, name = lookup.account(change.session, account), wanted.name
    if _find(change.session, owner, name) is not None:
        raise Refused(f"{owner.name} has an app token {name} already: revoke it, or rotate it")
    mine = select(func.count()).where(AppTokenRow.account_id == owner.id)
    if change.session.scalars(mine).one() >= MAX_TOKENS:
        raise Refused(f"{owner.name} has {MAX_TOKENS} app tokens: revoke some")
    secret = secret_tokens.make(Prefix.APP, random)
    row = AppTokenRow(
        account=owner,
        name=name,
        secret_hash=secret_tokens.digest(secret),
        ceiling=[*wanted.scopes] or None,
        networks=[*wanted.networks] or None,
        created_by=change.actor,
        created_at=change.at,
        expires_at=wanted.end(change.at),
    )
    change.session.add(row)
    change.session.flush()
    change.record("token.create", _target(row), after=_terms(row))
    return row, secret


def rotate(
    change: Change,
    token_id: int,
    grace: timedelta,
    random: Random,
    latest: datetime | None = None,
) -> tuple[AppTokenRow, str]:
    """Give an app token a new secret; the old one stays good for ``grace``.

    The token lives as long again as it did when it was created, but not beyond ``latest``.

    Raises:
        NotFound: there is no such app token.
    """
    row = get(change.session, token_id)
    before = _terms(row)
    secret = secret_tokens.make(Prefix.APP, random)
    if row.expires_at is None or row.expires_at > change.at:
        # The grace never makes the old secret live longer than it would have.
        ends = change.at + grace
        row.previous_until = min(ends, row.expires_at) if row.expires_at else ends
        row.previous_hash = row.secret_hash
    row.secret_hash = secret_tokens.digest(secret)
    if row.expires_at is not None:
        lifetime = row.expires_at - row.created_at
        end = change.at + lifetime if latest is None else min(change.at + lifetime, latest)
        row.created_at, row.expires_at = end - lifetime, end
    change.record("token.rotate", _target(row), before=before, after=_terms(row))
    return row, secret


def revoke(change: Change, token_id: int) -> str:
    """Remove an app token; return its name and account for a message.

    Raises:
        NotFound: there is no such app token.
    """
    row = get(change.session, token_id)
    text = f"{row.name} of {row.account.name}"
    change.record("token.revoke", _target(row), before=_terms(row))
    change.session.delete(row)
    change.session.flush()
    return text


def get(session: Session, token_id: int) -> AppTokenRow:
    """Return an app token.

    Raises:
        NotFound: no app token has that id.
    """
    row = session.get(AppTokenRow, token_id, options=[joinedload(AppTokenRow.account)])
    if row is None:
        raise NotFound(f"there is no app token {token_id}; see `{program()} token list`")
    return row


def listed(
    session: Session,
    account: str | None = None,
    expiring_before: datetime | None = None,
    window: Window = lists.ALL,
) -> Sequence[AppTokenRow]:
    """Return app tokens, filtered by account and by the time before which they expire.

    Raises:
        NotFound: there is no such account.
    """
    query = select(AppTokenRow).options(joinedload(AppTokenRow.account))
    if account is not None:
        query = query.where(AppTokenRow.account_id == lookup.account(session, account).id)
    if expiring_before is not None:
        query = query.where(AppTokenRow.expires_at < expiring_before)
    return session.scalars(lists.TOKENS.within(query, window)).all()


def beyond_role(session: Session, account: AccountRow, now: datetime) -> list[AppTokenRow]:
    """Return an account's app tokens that would open more of the administration than it may.

    They do as soon as the account rises. Those that have expired are left out.
    """
    mine = select(AppTokenRow).where(AppTokenRow.account_id == account.id).order_by(AppTokenRow.id)
    return [
        row
        for row in session.scalars(mine)
        if role(row.ceiling) > account.role and (row.expires_at is None or row.expires_at > now)
    ]


def limits(ceiling: Sequence[str] | None) -> tuple[Limit, ...] | None:
    """Return the limits of a stored ceiling on registries; None is all of the account."""
    if ceiling is None:
        return None
    return tuple(ceiling_limit(text) for text in ceiling if text not in RIGHTS)


def role(ceiling: Sequence[str] | None) -> Role:
    """Return what a token with that stored ceiling opens at most of the administration.

    A user's opens no more than the user may; a robot has no role but that of its token.
    """
    entries = ceiling or ()
    return Role.of(admin=ADMIN in entries, auditor=AUDITOR in entries)


def opens_own(ceiling: Sequence[str] | None) -> bool:
    """Whether a token with that stored ceiling opens its account's own: see :class:`Bounds`."""
    return not {ADMIN, SELF}.isdisjoint(ceiling or ())


def bounds(row: AppTokenRow) -> Bounds:
    """Return the bounds of an app token."""
    networks = tuple(parse_network(text) for text in row.networks or ())
    return _bounds(row.account.name, row.ceiling, networks, row.expires_at)


def _bounds(
    account: str,
    ceiling: Sequence[str] | None,
    networks: tuple[Network, ...],
    end: datetime | None,
) -> Bounds:
    allowed = limits(ceiling)
    return Bounds(
        limits=None if allowed is None else placed(allowed, account),
        role=role(ceiling),
        own=opens_own(ceiling),
        networks=networks,
        end=end,
    )


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _entry(text: str) -> str:
    return text if text in RIGHTS else str_limit(ceiling_limit(text))


def ceiling_limit(text: str) -> Limit:
    """Read a ceiling's scope, ``type:pattern:actions``, as in ``repository:team/**:pull``.

    Raises:
        Refused: the text is no scope, or its pattern or an action is refused.
    """
    parsed = scope.parse(text)
    if parsed.type not in ACTIONS:
        raise Refused(f"in {text!r}: the resource type is repository or registry")
    return Limit(
        parsed.type,
        rule_pattern(parsed.type, parsed.name),
        rule_actions(Effect.ALLOW, parsed.type, ",".join(parsed.actions)),
    )


def described(row: AppTokenRow, now: datetime) -> dict[str, Any]:
    """Return the app token for ``--json``; never its secret or hash."""
    return {
        "id": row.id,
        "account": row.account.name,
        "created_by": row.created_by,
        "created_at": row.created_at.isoformat(),
        **_terms(row),
        "expired": row.expires_at is not None and row.expires_at <= now,
        "last_used": row.last_used_at
        and {
            "at": row.last_used_at.isoformat(),
            "address": row.last_used_address,
            "client": row.last_used_client,
        },
    }


def _terms(row: AppTokenRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "scopes": row.ceiling,
        "networks": row.networks,
        "expires_at": row.expires_at and row.expires_at.isoformat(),
        "previous_until": row.previous_until and row.previous_until.isoformat(),
    }


def _target(row: AppTokenRow) -> str:
    return f"{row.account.kind}:{row.account.name} token:{row.id}"


def _find(session: Session, account: AccountRow, name: str) -> AppTokenRow | None:
    mine = select(AppTokenRow).where(AppTokenRow.account_id == account.id, AppTokenRow.name == name)
    return session.scalars(mine).one_or_none()

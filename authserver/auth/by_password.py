"""Passwords of users: remembered ones are recalled at once, the others take bcrypt."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Self

from authserver.auth import passwords
from authserver.auth.credentials import Backends, Credential, Identity, Origin, claimed_account
from authserver.auth.usage import CredentialKind, CredentialUse
from authserver.core import password_rules, second_factor
from authserver.core.errors import NotReady, Refused, SecondFactorNeeded, Unauthorized
from authserver.core.names import nfc
from authserver.core.second_factor import Due
from authserver.core.secret_tokens import Prefix
from authserver.core.subjects import AccountKind
from authserver.db.models import AccountRow
from authserver.db.snapshot import Snapshot
from authserver.db.snapshot_rows import KnownAccount
from authserver.db.store import Change


@dataclass(frozen=True, slots=True)
class Password(Credential):
    """A name and a password, as the client sent them; the name in NFC.

    Where a second factor is due the password is refused, unless it is the ``first_of_two``: who
    asks for it so asks for the second one next, as the console does.
    """

    kind: ClassVar[str] = "password"
    shape: ClassVar[re.Pattern[str]] = re.compile("")
    starts_login: ClassVar[bool] = True

    name: str
    password: str = field(repr=False)
    first_of_two: bool = False

    @classmethod
    def of(cls, name: str, secret: str) -> Self:
        return cls(nfc(name), secret)

    def account_in_records(self, snapshot: Snapshot, hashed: Callable[[str], str]) -> str:
        return claimed_account(self.name, snapshot, hashed)

    def is_known(self, snapshot: Snapshot) -> bool:
        return True

    def recall(self, backends: Backends, snapshot: Snapshot, origin: Origin) -> Identity | None:
        if not self.password:
            raise Unauthorized("empty password")
        if self.password.startswith(Prefix.REFRESH):
            # containerd sends a refresh token like this after it was refused.
            raise Unauthorized("a refresh token in the place of a password")
        account = snapshot.accounts.get(self.name)
        if (
            account is None
            or not self._is_remembered(backends, account)
            or not backends.lockout.may_be_remembered(origin.address, str(account.id))
        ):
            return None
        backends.observations.passwords.append("remembered")
        return self._identity(account, backends, origin)

    def verify(
        self, backends: Backends, snapshot: Snapshot, origin: Origin, *, stale: bool
    ) -> Identity:
        """Check the password by bcrypt.

        The work is the same for a wrong password, an unknown and a disabled account.
        """
        if stale:
            raise NotReady("the store cannot be reached, and this password was not checked lately")
        account = snapshot.accounts.get(self.name)
        state = (account.password_hash, account.disabled) if account else ()
        client, exists = origin.address, account is not None
        counted = str(account.id) if account else self.name
        shown = partial(self.account_in_records, snapshot, backends.hashed)
        with backends.lockout.attempt(client, counted, exists=exists, shown=shown) as attempt:
            right = backends.hashing.once(
                client,
                backends.passwords.check_id(self.name, self.password, *state),
                lambda: attempt.check(
                    self.password, lambda: self._check(backends, account, snapshot.highest_cost)
                ),
                guest=attempt.is_guest,
            )
            if not (right and account):
                raise Unauthorized(_why(account))
        return self._identity(account, backends, origin)

    def still(
        self, proved: Identity, backends: Backends, snapshot: Snapshot, origin: Origin
    ) -> Identity | None:
        before, now = proved.known, snapshot.accounts.get(self.name)
        if now is None or now.id != before.id or now.disabled:
            return None
        # The same password may have been hashed anew, at a higher cost.
        if now.password_hash != before.password_hash and not self._is_remembered(backends, now):
            return None
        return proved._replace(
            known=now, due=self._due(backends, has=now.second_factor, admin=now.admin)
        )

    def require_still(
        self, proved: Identity, backends: Backends, change: Change, account: AccountRow
    ) -> None:
        self._due(backends, has=account.second_factor, admin=account.admin)
        now = account.password_hash
        if now == proved.known.password_hash:
            return
        # The hash of an unchanged password may have been made anew at a higher cost.
        if now is None or not backends.passwords.remembers(account.id, now, self.password):
            raise Unauthorized("the password was changed meanwhile")

    def _identity(self, account: KnownAccount, backends: Backends, origin: Origin) -> Identity:
        return Identity(
            account,
            "password",
            (account.id, None, None),
            use=CredentialUse(
                CredentialKind.PASSWORD, account.id, account.id, backends.clock(), *origin
            ),
            may_stay_logged_in=account.account.kind is AccountKind.USER,
            due=self._due(backends, has=account.second_factor, admin=account.admin),
        )

    def _due(self, backends: Backends, *, has: bool, admin: bool) -> Due:
        """Return what is due beside this password, which is right."""
        due = second_factor.due(backends.demanded, has=has, admin=admin)
        if due is not Due.NOTHING and not self.first_of_two:
            raise SecondFactorNeeded(backends.console, missing=due is Due.ENROLMENT)
        return due

    def _is_remembered(self, backends: Backends, account: KnownAccount) -> bool:
        stored = account.password_hash
        if account.disabled or stored is None:
            return False
        return backends.passwords.remembers(account.id, stored, self.password)

    def _check(self, backends: Backends, account: KnownAccount | None, highest_cost: int) -> bool:
        """Check the password in a turn, and remember it if it is right."""
        stored = account.password_hash if account else None
        usable = account is not None and not account.disabled
        right = backends.passwords.check(self.password, stored, highest_cost, usable=usable)
        backends.observations.passwords.append("right" if right else "wrong")
        if right and account and stored:
            self._verified(backends, account, stored)
        return right

    def _verified(self, backends: Backends, account: KnownAccount, stored: str) -> None:
        """Remember the password, and hash it anew if that is due."""
        backends.passwords.learn(account.id, stored, self.password)
        reason = password_rules.imported_only(self.password)
        if reason and password_rules.is_imported(stored):
            backends.passwords.warn_of_import(account.id, account.account.name, reason)
        if not backends.passwords.outdated(stored):
            return
        try:
            new = passwords.hash_password(self.password, backends.passwords.cost)
        except Refused:
            # Of an imported password with over 72 bytes the old hash stays.
            return
        backends.passwords.learn(account.id, new, self.password)
        backends.rehashes.add(account.id, stored, new)


def _why(account: KnownAccount | None) -> str:
    if account is None:
        return "unknown account"
    if account.disabled:
        return "disabled account"
    return "wrong password" if account.password_hash else "account without a password"

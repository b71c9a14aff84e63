"""App tokens: long random secrets that programs send in the place of a password."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Self

from authserver.auth.credentials import Backends, Credential, Identity, Origin, claimed_account
from authserver.auth.usage import CredentialKind, CredentialUse
from authserver.core import secret_tokens
from authserver.core.addresses import parse_address
from authserver.core.errors import Unauthorized
from authserver.core.names import nfc
from authserver.core.secret_tokens import Prefix
from authserver.db import second_checks
from authserver.db.models import AccountRow
from authserver.db.snapshot import Snapshot
from authserver.db.snapshot_rows import KnownAppToken
from authserver.db.store import Change


@dataclass(frozen=True, slots=True)
class AppToken(Credential):
    """A name and an app token.

    Of the token only the digest is kept, and whether it is ``well_formed``: a typo needs no look
    into the store.
    """

    kind: ClassVar[str] = "app_token"
    shape: ClassVar[re.Pattern[str]] = re.compile(Prefix.APP)
    holds_no_secret: ClassVar[bool] = True

    name: str
    digest: str = field(repr=False)
    well_formed: bool

    @classmethod
    def of(cls, name: str, secret: str) -> Self:
        return cls(nfc(name), secret_tokens.digest(secret), secret_tokens.is_well_formed(secret))

    def account_in_records(self, snapshot: Snapshot, hashed: Callable[[str], str]) -> str:
        return claimed_account(self.name, snapshot, hashed)

    def is_known(self, snapshot: Snapshot) -> bool:
        return self.digest in snapshot.app_tokens or not self.well_formed

    def recall(self, backends: Backends, snapshot: Snapshot, origin: Origin) -> Identity | None:
        if not self.is_known(snapshot):
            return None
        return self.verify(backends, snapshot, origin)

    def verify(
        self, backends: Backends, snapshot: Snapshot, origin: Origin, *, stale: bool = False
    ) -> Identity:
        token = snapshot.app_tokens.get(self.digest)
        if token is None:
            raise Unauthorized(
                "unknown or revoked app token" if self.well_formed else "mistyped app token"
            )
        now = backends.clock()
        account = snapshot.accounts.get(self.name)
        if account is None or account.id != token.account_id:
            raise Unauthorized("app token of another account")
        if account.disabled:
            raise Unauthorized("disabled account")
        if token.expires_at is not None and token.expires_at <= now:
            raise Unauthorized(f"expired app token {token.name}")
        if token.networks and not _is_within(token, origin.address):
            raise Unauthorized(f"app token {token.name} from a network that it is not for")
        return Identity(
            account,
            f"app token {token.name}",
            (account.id, token.id, None),
            token.ceiling,
            use=CredentialUse(
                CredentialKind.APP,
                token.id,
                account.id,
                now,
                origin.address,
                origin.client,
                ends=token.expires_at,
                account=self.name,
                token=token.name,
            ),
            app_token=token,
        )

    def still(
        self, proved: Identity, backends: Backends, snapshot: Snapshot, origin: Origin
    ) -> Identity:
        return self.verify(backends, snapshot, origin)

    def require_still(
        self, proved: Identity, backends: Backends, change: Change, account: AccountRow
    ) -> None:
        second_checks.require_app_token(change.session, self.digest, change.at)


def _is_within(token: KnownAppToken, text: str) -> bool:
    client = parse_address(text)
    return client is not None and any(client in network for network in token.networks)

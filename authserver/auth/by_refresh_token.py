"""Refresh tokens: what `docker login` keeps instead of the password, bound to one registry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Self

from authserver.auth.credentials import Backends, Credential, Identity, Origin
from authserver.auth.usage import CredentialKind, CredentialUse
from authserver.core import secret_tokens
from authserver.core.errors import LoginEnded
from authserver.db.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class RefreshToken(Credential):
    """A refresh token and its digest. It is only ever sent in the body of a POST."""

    kind: ClassVar[str] = "refresh_token"

    secret: str = field(repr=False)
    digest: str = field(repr=False)

    @classmethod
    def of(cls, secret: str) -> Self:
        return cls(secret, secret_tokens.digest(secret))

    @property
    def refresh_token(self) -> str | None:
        # Docker ignores a new one, so the answer repeats this one.
        return self.secret

    def account_in_records(self, snapshot: Snapshot, hashed: Callable[[str], str]) -> str:
        return "(refresh token)"

    def is_known(self, snapshot: Snapshot) -> bool:
        is_well_formed = secret_tokens.is_well_formed
        return self.digest in snapshot.refresh_tokens or not is_well_formed(self.secret)

    def recall(self, backends: Backends, snapshot: Snapshot, origin: Origin) -> Identity | None:
        if not self.is_known(snapshot):
            return None
        return self.verify(backends, snapshot, origin)

    def still(
        self, proved: Identity, backends: Backends, snapshot: Snapshot, origin: Origin
    ) -> Identity:
        return self.verify(backends, snapshot, origin)

    def verify(
        self, backends: Backends, snapshot: Snapshot, origin: Origin, *, stale: bool = False
    ) -> Identity:
        token = snapshot.refresh_tokens.get(self.digest)
        if token is None:
            raise LoginEnded("unknown or revoked refresh token")
        now = backends.clock()
        account = snapshot.owner(token)
        if account.disabled:
            raise LoginEnded("disabled account")
        if token.expires_at <= now:
            raise LoginEnded("refresh token was idle for too long")
        service = snapshot.service(token)
        return Identity(
            account,
            f"refresh token {token.id}",
            (account.id, None, service),
            bound_to=service,
            use=CredentialUse(
                CredentialKind.REFRESH, token.id, account.id, now, *origin, token.expires_at
            ),
        )

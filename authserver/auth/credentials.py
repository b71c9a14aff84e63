"""What a client shows, and whose it is: the parts that every kind of credential has.

Each kind has a file of its own, ``by_*.py``; the table of them is in ``authenticator``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, NamedTuple

from authserver.auth.bcrypt_queue import Hashing
from authserver.auth.lockout import Lockout
from authserver.auth.passwords import Passwords
from authserver.auth.usage import CredentialUse, CredentialUses, Rehashes
from authserver.core.errors import Unauthorized
from authserver.core.rules import Limit
from authserver.core.second_factor import Demanded, Due
from authserver.db.models import AccountRow
from authserver.db.snapshot import Snapshot
from authserver.db.snapshot_rows import KnownAccount, KnownAppToken
from authserver.db.store import Change
from authserver.runtime.metrics.counters import Observations

IdentityKey = tuple[int, int | None, str | None]


# What is made for each request is a tuple: a frozen dataclass takes three times as long to make.
class Origin(NamedTuple):
    """Where a request comes from."""

    address: str
    client: str


class Identity(NamedTuple):
    """The account that a credential proves, and what the credential may be used for at most.

    ``credential`` is its name in records. ``key`` is what two identities share if they may do the
    same: ids of the account and the app token, which are never given twice, and the registry.
    ``ceiling`` None means all of the account's rights; ``bound_to`` None means every registry.
    Where something is ``due``, it proves nothing yet.
    """

    known: KnownAccount
    credential: str
    key: IdentityKey
    ceiling: tuple[Limit, ...] | None = None
    bound_to: str | None = None
    use: CredentialUse | None = None
    may_stay_logged_in: bool = False
    due: Due = Due.NOTHING
    app_token: KnownAppToken | None = None


@dataclass(frozen=True)
class Backends:
    """What credentials are verified with. Each kind uses what it needs.

    ``hashed`` is the substitute in records for a name that no account has. Second factors are set
    up in the ``console``; some users must have one, as ``demanded`` says.
    """

    passwords: Passwords
    uses: CredentialUses
    rehashes: Rehashes
    hashing: Hashing
    lockout: Lockout
    clock: Callable[[], datetime]
    hashed: Callable[[str], str]
    observations: Observations = field(default_factory=Observations)
    demanded: Demanded = Demanded.OPTIONAL
    console: str = ""


class Credential(ABC):
    """One credential, as the client sent it."""

    __slots__ = ()

    kind: ClassVar[str]
    """The kind's name in metrics."""

    holds_no_secret: ClassVar[bool] = False
    """Whether an object of this kind may be kept, as it has a digest in the secret's place."""

    starts_login: ClassVar[bool] = False
    """Whether a refresh token may be made for it, which waits for the store."""

    @property
    def refresh_token(self) -> str | None:
        """The refresh token that this credential is; None for other kinds."""
        return None

    @abstractmethod
    def account_in_records(self, snapshot: Snapshot, hashed: Callable[[str], str]) -> str:
        """Return what records say in the place of an account that is not proved.

        A name that no account has is ``hashed``: people type passwords there.
        """

    @abstractmethod
    def is_known(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot can tell if the credential is good; it may lack a new token."""

    @abstractmethod
    def recall(self, backends: Backends, snapshot: Snapshot, origin: Origin) -> Identity | None:
        """Return the identity if that takes no wait; None if only :meth:`verify` can tell.

        Raises:
            Unauthorized: it proves no account; LoginEnded if it is a refresh token.
        """

    def verify(
        self, backends: Backends, snapshot: Snapshot, origin: Origin, *, stale: bool
    ) -> Identity:
        """Return the identity, and wait for as long as that takes.

        Raises:
            Unauthorized: it proves no account.
            NotReady: the snapshot is ``stale``, and not enough to tell.
            TooManyAttempts: too many attempts from this address failed.
            Busy: too many others wait.
        """
        raise NotImplementedError

    def still(
        self, proved: Identity, backends: Backends, snapshot: Snapshot, origin: Origin
    ) -> Identity | None:
        """Return the identity by a later snapshot than the one that proved it, without a wait.

        None means that the credential has to be verified again.

        Raises:
            Unauthorized: it is not good any more.
        """
        raise NotImplementedError

    def require_still(
        self, proved: Identity, backends: Backends, change: Change, account: AccountRow
    ) -> None:
        """Check inside a change that the credential still proves ``account``.

        Raises:
            Unauthorized: it is not good any more.
        """
        raise Unauthorized(f"a change cannot be made with {self.kind}")


@dataclass(frozen=True, slots=True)
class Malformed(Credential):
    """Something that was meant as credentials and cannot be read as such."""

    kind: ClassVar[str] = "malformed"
    reason: str

    def account_in_records(self, snapshot: Snapshot, hashed: Callable[[str], str]) -> str:
        return "(malformed)"

    def is_known(self, snapshot: Snapshot) -> bool:
        return True

    def recall(self, backends: Backends, snapshot: Snapshot, origin: Origin) -> Identity | None:
        raise Unauthorized(f"malformed credentials: {self.reason}")


def claimed_account(name: str, snapshot: Snapshot, hashed: Callable[[str], str]) -> str:
    """Return what records say for a name that a client sent, proved or not."""
    return name if name in snapshot.accounts else hashed(name)

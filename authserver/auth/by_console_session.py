"""Console sessions: what a request to the console proves by its cookie."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from authserver.auth.credentials import Backends, Credential, Identity, Origin
from authserver.core.errors import Unauthorized
from authserver.db.models import AccountRow, ConsoleSessionRow
from authserver.db.snapshot import Snapshot
from authserver.db.store import Change


@dataclass(frozen=True, slots=True)
class ConsoleSession(Credential):
    """An open session of the console, by its id. It is found in no header: the console makes it."""

    kind: ClassVar[str] = "console session"
    holds_no_secret: ClassVar[bool] = True

    id: int
    account_id: int

    def account_in_records(self, snapshot: Snapshot, hashed: Callable[[str], str]) -> str:
        return snapshot.names.accounts.get(self.account_id, "(removed)")

    def is_known(self, snapshot: Snapshot) -> bool:
        return self.account_id in snapshot.names.accounts

    def recall(self, backends: Backends, snapshot: Snapshot, origin: Origin) -> Identity | None:
        name = snapshot.names.accounts.get(self.account_id)
        if name is None or (known := snapshot.accounts[name]).disabled:
            raise Unauthorized("the account was removed or disabled")
        return Identity(known, f"console session {self.id}", (known.id, None, None))

    def still(
        self, proved: Identity, backends: Backends, snapshot: Snapshot, origin: Origin
    ) -> Identity | None:
        return self.recall(backends, snapshot, origin)

    def require_still(
        self, proved: Identity, backends: Backends, change: Change, account: AccountRow
    ) -> None:
        if change.session.get(ConsoleSessionRow, self.id) is None:
            raise Unauthorized("the console session ended meanwhile")

"""Lockouts on their way to the store, where operators see them, and lifted ones on their way back.

Requests leave a lockout in memory; a thread of the server writes it, and ends what was lifted.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice

from authserver.auth.lockout import Begun, Lockout
from authserver.db import lockouts
from authserver.db.lockouts import MAX_LOCKOUTS, Noted
from authserver.db.store import Store


@dataclass
class LockoutLog:
    """Writes down which lockouts of this server began, and ends those that were lifted."""

    lockout: Lockout
    _pending: deque[Begun] = field(default_factory=lambda: deque(maxlen=MAX_LOCKOUTS), repr=False)
    _lifted: frozenset[int] | None = None
    _version: int | None = None

    def __post_init__(self) -> None:
        self.lockout.began = self._pending.append

    def write(self, store: Store) -> None:
        """Store the lockouts that began; on an error they stay pending."""
        # Taken out first: a full queue drops its oldest when requests add to it meanwhile.
        begun = [self._pending.popleft() for _ in range(len(self._pending))]
        if not begun:
            return
        try:
            self._note(store, begun)
        except Exception:
            # No more than there is room for: beyond that, a full queue would drop its newest.
            room = MAX_LOCKOUTS - len(self._pending)
            self._pending.extendleft(islice(reversed(begun), room))
            raise

    def _note(self, store: Store, begun: Sequence[Begun]) -> None:
        now = self.lockout.monotonic()
        with store.append() as session:
            at = store.time(session)
            lockouts.note(
                session,
                at,
                [
                    Noted(each.key, each.address[:64], each.account, at + timedelta(seconds=left))
                    for each in begun
                    if (left := each.until - now) > 0
                ],
            )

    def follow(self, store: Store, version: int) -> None:
        """End the lockouts that were lifted since the last call; the first call ends none.

        ``version`` is the store's: without another change nothing was lifted.
        """
        if version == self._version:
            return
        with store.read() as session:
            lifted = lockouts.lifted(session)
        self._version = version
        if self._lifted is not None:
            for row_id in lifted.keys() - self._lifted:
                row = lifted[row_id]
                self.lockout.lift(row.key, of_address=not row.account)
        self._lifted = frozenset(lifted)

"""What requests leave behind to be counted: appended at once, added up later by another thread."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

T = TypeVar("T")

MAX_WAITING = 20_000
"""So many may come before they are added up."""


class TokenRequestSeen(NamedTuple):
    """One token request.

    ``registry`` is what the client named, and may be anything; ``refusal`` is the error that
    answered it, if one did; ``seconds`` is how long it took.
    """

    registry: str
    outcome: str
    refusal: type[Exception] | None
    credential: str
    seconds: float


class Observations:
    """Each kind may be appended to by any thread; of each the latest ``most`` are kept.

    ``responses`` are parts of the application and status codes, ``passwords`` are ``remembered``,
    ``right`` or ``wrong``, ``limits`` the names of limits that were hit, ``unreadable`` the name of
    the header in which a trusted proxy's address of the client could not be read.
    """

    def __init__(self, most: int = 0) -> None:
        self.token_requests: deque[TokenRequestSeen] = deque(maxlen=most)
        self.responses: deque[tuple[str, int]] = deque(maxlen=most)
        self.passwords: deque[str] = deque(maxlen=most)
        self.limits: deque[str] = deque(maxlen=most)
        self.unreadable: deque[str] = deque(maxlen=most)


def taken(waiting: deque[T]) -> Iterator[T]:
    """Take out what waits now; what comes meanwhile is left."""
    for _ in range(len(waiting)):
        yield waiting.popleft()

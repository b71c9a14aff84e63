"""Holding refused logins back, so that whoever sends many of them cannot send as many as he likes.

A refusal is cheap for him, too, and comes back as the next try. He is refused slowly, by a part of
the threads; where those are all taken, at once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from authserver.runtime.concurrency import Places


@dataclass
class Holding:
    """Holds each login that is refused unchecked for ``seconds``."""

    places: Places
    seconds: float = 1.0
    sleep: Callable[[float], None] = time.sleep

    def hold(self, client: str) -> None:
        """Wait, if there is a place; ``client`` is the address that is refused."""
        with self.places.take(client) as free:
            if free:
                self.sleep(self.seconds)

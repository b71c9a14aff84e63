"""Clients that ask for tokens all the time, and what came of each request."""

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from tests.e2e.fetching import Answer, fetch
from tests.soak.grants import Judge, Question, Wrong
from tests.world import basic

TIMEOUT = 10.0
CHANGE = "changes"
GUESS = "guesses"
GUESSER = "127.0.0.7"
GOOD = ("granted", "refused", "done", "guess refused")


@dataclass(frozen=True)
class Sample:
    """A request and what came of it; times are of the monotonic clock, in seconds."""

    way: str
    sent: float
    received: float
    kind: str
    jwt_id: str = ""
    stale: bool = False
    narrow: bool = False

    @property
    def is_good(self) -> bool:
        """Whether the client was answered; a refusal that the rules want is an answer."""
        return self.kind in GOOD


@dataclass
class Noted:
    """All that came of the run so far."""

    samples: list[Sample] = field(default_factory=list)
    wrong: list[tuple[float, str]] = field(default_factory=list)


def exchange(url: str, question: Question) -> Answer | str:
    """Send one request; return the answer, or what kind of failure it was."""
    return sent(url + question.path, question.method, question.headers, question.body)


def sent(
    url: str, method: str, headers: dict[str, str], body: bytes | None, source: str | None = None
) -> Answer | str:
    """Send one request over a connection of its own; return the answer or the kind of failure."""
    try:
        return fetch(url, method, headers=headers, body=body, seconds=TIMEOUT, source=source)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


@dataclass(frozen=True)
class Load:
    """Threads that each send a request every ``interval`` seconds to ``url``."""

    url: str
    judge: Judge
    noted: Noted
    interval: float

    def ask(self, question: Question) -> None:
        """Ask once and note what came of it."""
        began = time.monotonic()
        answer = exchange(self.url, question)
        received = time.monotonic()
        if isinstance(answer, str):
            self.noted.samples.append(Sample(question.way, began, received, answer))
            return
        try:
            found = self.judge.verdict(question, answer, began, received)
        except Wrong as error:
            self.noted.wrong.append((began, str(error)))
            self.noted.samples.append(Sample(question.way, began, received, "WRONG"))
            return
        self.noted.samples.append(Sample(
            question.way, began, received, found.kind, found.jwt_id, found.stale, found.narrow
        ))  # fmt: skip

    def guess(self, number: int) -> None:
        """Show a wrong password, another each time, from another address than the clients'."""
        began = time.monotonic()
        headers = {"Authorization": basic("alice", f"wrong {number}")}
        answer = sent(f"{self.url}/token?service=registry", "GET", headers, None, GUESSER)
        kind = answer if isinstance(answer, str) else str(answer.status)
        if kind == "200":
            self.noted.wrong.append((began, "a wrong password was taken"))
        kind = "guess refused" if kind in ("401", "429") else kind
        self.noted.samples.append(Sample(GUESS, began, time.monotonic(), kind))

    @contextmanager
    def running(self, *steps: Callable[[int], None]) -> Iterator[None]:
        """Do each step again and again, in a thread of its own, until the block ends."""
        ended = Event()
        threads = [Thread(target=self._repeat, args=(step, ended)) for step in steps]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def _repeat(self, step: Callable[[int], None], ended: Event) -> None:
        number, due = 0, time.monotonic()
        while not ended.wait(max(0.0, due - time.monotonic())):
            step(number)
            number += 1
            due = max(due + self.interval, time.monotonic())

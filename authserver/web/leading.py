"""One of the HTTP server's threads at a time takes requests (Leader/Followers).

Threads that take requests at the same time hand the interpreter to each other at each of them,
which costs more than a signature. So one thread goes back for the next request, and the others wait
here. A request that is about to wait for something has another thread lead before.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from authserver import waiting

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Callback = Callable[[Any, "WSGIEnvironment"], object]
"""Answers a request; the first argument is the HTTP server's, to be answered through."""


class Leading:
    """Calls ``answer`` for each request, and keeps the thread here unless it is to lead."""

    def __init__(self, answer: Callback) -> None:
        self._answer = answer
        self._threads = threading.local()
        self._lock = threading.Lock()
        self._leaders = 0
        self._followers: list[threading.Lock] = []

    @property
    def followers(self) -> int:
        """Return how many threads wait until they are to lead."""
        return len(self._followers)

    def __call__(self, exchange: object, environ: "WSGIEnvironment") -> None:
        """Answer a request in one of the server's threads; return when it may take another."""
        try:
            thread = self._threads.this
        except AttributeError:
            thread = self._threads.this = _Thread(self)
            waiting.listen(thread.step_aside)
        try:
            self._answer(exchange, environ)
        finally:
            # What is read without the lock may be old; then it is seen after the next request.
            if not (thread.leads and self._leaders == 1):
                self._lead_or_follow(thread)

    def join(self) -> None:
        """Take note that a thread leads, as each does that is new."""
        with self._lock:
            self._leaders += 1

    def leave(self) -> None:
        """Take note that a thread leads no more; have another lead if that was the only one."""
        with self._lock:
            self._leaders -= 1
            if self._leaders == 0 and self._followers:
                self._leaders = 1
                self._followers.pop().release()

    def _lead_or_follow(self, thread: "_Thread") -> None:
        turn = threading.Lock()
        with self._lock:
            others = self._leaders - thread.leads
            if others == 0:
                thread.leads, self._leaders = True, 1
                return
            thread.leads, self._leaders = False, others
            turn.acquire()
            self._followers.append(turn)
        # Whoever releases it has counted this thread as the leader.
        turn.acquire()
        thread.leads = True


class _Thread:
    """One of the server's threads. It ends with it: the server ends threads that were idle."""

    def __init__(self, leading: Leading) -> None:
        self._leading, self.leads = leading, True
        leading.join()

    def step_aside(self) -> None:
        if self.leads:
            self.leads = False
            self._leading.leave()

    def __del__(self) -> None:
        self.step_aside()

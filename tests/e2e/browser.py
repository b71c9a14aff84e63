"""A real browser without a window, told over a pipe what to do (Chrome DevTools Protocol)."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from typing import Any

from tests.programs import clean_environ, require, which

SECONDS = 60.0
Message = dict[str, Any]


@dataclass
class Browser:
    """One page of Chromium. It asks for ``login`` where a page needs a name and a password."""

    reading: int
    writing: int
    login: tuple[str, str] | None = None
    asked: list[str] = field(default_factory=list)
    """The URLs for which the browser asked the person for a password."""
    _session: str | None = None
    _last: int = 0
    _buffer: bytes = b""

    def begin(self) -> None:
        """Open the page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Fetch.enable", handleAuthRequests=True)

    def title(self, url: str) -> str:
        """Load a page, and return its title when a script of it has set that."""
        self.asked.clear()
        self.call("Page.navigate", url=url)
        for _ in range(1000):
            found = self.call(
                "Runtime.evaluate",
                expression="new Promise(r => setTimeout(() => r(document.title), 20))",
                awaitPromise=True,
            )
            if title := found.get("result", {}).get("value"):
                return str(title)
        raise AssertionError(f"no title at {url}")

    def call(self, method: str, **params: object) -> Message:
        """Return the result of a command; answer meanwhile what the browser asks."""
        number = self._send(method, params)
        while (message := self._receive()).get("id") != number:
            self._answer(message)
        return dict(message.get("result", {}))

    def _send(self, method: str, params: Message) -> int:
        self._last += 1
        message: Message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        return self._last

    def _receive(self) -> Message:
        while b"\0" not in self._buffer:
            assert select([self.reading], [], [], SECONDS)[0], "the browser says nothing"
            read = os.read(self.reading, 65536)
            assert read, "the browser has ended"
            self._buffer += read
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def _answer(self, message: Message) -> None:
        event = message.get("params", {})
        if message.get("method") == "Fetch.requestPaused":
            self._send("Fetch.continueRequest", {"requestId": event["requestId"]})
        elif message.get("method") == "Fetch.authRequired":
            self.asked.append(event["request"]["url"])
            answer: Message = {"response": "CancelAuth"}
            if self.login:
                name, password = self.login
                answer = {"response": "ProvideCredentials", "username": name, "password": password}
            sent = {"requestId": event["requestId"], "authChallengeResponse": answer}
            self._send("Fetch.continueWithAuth", sent)


@contextmanager
def browsing(place: Path) -> Iterator[Browser]:
    """Run a browser that keeps what it keeps below ``place``."""
    require("chromium")
    ours, theirs = os.pipe(), os.pipe()
    script = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    command = ["bash", "-c", script, "bash", str(which("chromium")), *options]
    with (place / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--user-data-dir={place / 'browser'}", "about:blank"],
            pass_fds=(ours[0], theirs[1]),
            env=clean_environ(HOME=str(place)),
            stdout=log,
            stderr=log,
        )
    os.close(ours[0])
    os.close(theirs[1])
    browser = Browser(theirs[0], ours[1])
    try:
        browser.begin()
        yield browser
    finally:
        os.close(ours[1])
        os.close(theirs[0])
        process.terminate()
        process.wait(30)

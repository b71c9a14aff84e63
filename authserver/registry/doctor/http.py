"""HTTP requests to a server that may be slow, broken or hostile.

No redirect is followed, no proxy is asked, nothing is kept between requests. A request ends within
its time whatever the other side does, and all requests of an examination within theirs.
"""

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import SplitResult

from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.core.urls import PORTS, parse_url
from authserver.registry.doctor import unreachable
from authserver.registry.doctor.unreachable import Unreachable

REQUEST_SECONDS = 10.0
ALL_SECONDS = 120.0
MAX_BODY = 256 * 1024
MAX_ADDRESSES = 4
USER_AGENT = "authserver-doctor"


@dataclass(frozen=True)
class Answer:
    """What came back; the body is cut at MAX_BODY."""

    status: int
    headers: Message
    body: bytes = field(repr=False)

    def json(self) -> Any:  # noqa: ANN401 - it is whatever was sent
        """Return the body as JSON, None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def error(self) -> str:
        """Return the first error in the body (Distribution ``spec/api.md``), for one line."""
        match self.json():
            case {"errors": [{"code": str(code), **more}, *_]}:
                message = more.get("message")
                return printable(f"{code}: {message}" if isinstance(message, str) else code)
            case {"details": str(details)}:
                return printable(details)
        return ""


@dataclass
class Fetcher:
    """Sends the requests of one examination."""

    ca_file: Path | None = None
    request_seconds: float = REQUEST_SECONDS
    all_seconds: float = ALL_SECONDS
    _began: float = field(default_factory=time.monotonic, init=False)

    def fetch(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send one request and return the answer, whatever its status.

        Raises:
            Refused: that is no URL that may be asked.
            Unreachable: there was no answer, or not in time.
        """
        parts = parse_url(url)
        seconds = min(self.request_seconds, self._began + self.all_seconds - time.monotonic())
        place = f"{parts.scheme}://{parts.netloc}"
        if seconds <= 0:
            raise Unreachable(
                f"{place} was not asked: the examination took {self.all_seconds:.0f} seconds",
                "find out why the answers take so long, and try again",
            )
        connection = _Connection(parts, self._context(parts), seconds)
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        try:
            with connection:
                sent = {"User-Agent": USER_AGENT, "Connection": "close", **(headers or {})}
                connection.request(method, target, body, sent)
                response: HTTPResponse = connection.getresponse()
                answer = Answer(response.status, response.headers, response.read(MAX_BODY))
                connection.require_in_time()
                return answer
        except (OSError, HTTPException, ValueError) as error:
            raise unreachable.explained(
                place, error, late=connection.late, seconds=seconds
            ) from None

    def _context(self, parts: SplitResult) -> ssl.SSLContext | None:
        if parts.scheme == "http":
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError):
            raise Refused(f"the file {self.ca_file} holds no CA certificate") from None


class _Connection(HTTPConnection):
    """A connection that is cut when its time is over, in whatever state it is."""

    def __init__(self, parts: SplitResult, context: ssl.SSLContext | None, seconds: float) -> None:
        super().__init__(parts.hostname or "", parts.port or PORTS[parts.scheme])
        self.late = False
        self._ends = time.monotonic() + seconds
        self._context = context
        self._watched: socket.socket | None = None
        self._timer = Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_Connection":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self.close()
        if self._watched is not None:
            self._watched.close()

    def connect(self) -> None:
        """Connect, and keep a second descriptor: shut down there, all waiting ends here."""
        raw = self._connected()
        self._watched = raw.dup()
        if self.late:
            raw.close()
            raise TimeoutError
        self.sock = (
            self._context.wrap_socket(raw, server_hostname=self.host) if self._context else raw
        )

    def require_in_time(self) -> None:
        """Check that what was read was not cut: http.client takes a cut head for a whole one."""
        if self.late:
            raise TimeoutError

    def _connected(self) -> socket.socket:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        problem: OSError = TimeoutError()
        for family, kind, protocol, _, address in found[:MAX_ADDRESSES]:
            left = self._ends - time.monotonic()
            if left <= 0:
                break
            raw = socket.socket(family, kind, protocol)
            try:
                raw.settimeout(left)
                raw.connect(address)
            except OSError as error:
                raw.close()
                problem = error
            else:
                return raw
        raise problem

    def _cut(self) -> None:
        self.late = True
        if self._watched is not None:
            with contextlib.suppress(OSError):
                self._watched.shutdown(socket.SHUT_RDWR)

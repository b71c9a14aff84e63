"""HTTP requests to a registry that may be slow, broken or hostile, and why a request failed.

Requests follow no redirect, use no proxy and share no connection. Each one ends within its time
limit whatever the server does, and all requests of an examination end within theirs.
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
from urllib.parse import SplitResult, urljoin, urlsplit

from authserver.core.errors import AuthserverError, Refused
from authserver.core.names import printable
from authserver.core.urls import PORTS, parse_url, site

REQUEST_SECONDS = 10.0
ALL_SECONDS = 120.0
MAX_BODY = 256 * 1024
MAX_ADDRESSES = 4
USER_AGENT = "authserver-doctor"


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer; its body is cut at MAX_BODY."""

    status: int
    headers: Message
    body: bytes = field(repr=False)

    def json(self) -> Any:  # noqa: ANN401 - the server decides
        """Return the body's JSON value, None if the body is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def error(self) -> str:
        """Return the body's first error (Distribution ``spec/api.md``) as one line, or ``""``."""
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
    ) -> HttpAnswer:
        """Send one request and return the answer, whatever its status.

        Raises:
            Refused: the URL is not http or https.
            Unreachable: no answer came, or it came too late.
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
                answer = HttpAnswer(response.status, response.headers, response.read(MAX_BODY))
                connection.require_in_time()
                return answer
        except (OSError, HTTPException, ValueError) as error:
            raise explained(place, error, late=connection.late, seconds=seconds) from None

    def _context(self, parts: SplitResult) -> ssl.SSLContext | None:
        if parts.scheme == "http":
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError):
            raise Refused(f"the file {self.ca_file} holds no CA certificate") from None


class _Connection(HTTPConnection):
    """A connection that a timer shuts down at the end of its time, in whatever state it is."""

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
        """Connect, and keep a second descriptor: shutting that one down ends every wait here."""
        raw = self._connected()
        self._watched = raw.dup()
        if self.late:
            raw.close()
            raise TimeoutError
        self.sock = (
            self._context.wrap_socket(raw, server_hostname=self.host) if self._context else raw
        )

    def require_in_time(self) -> None:
        """Raise TimeoutError if the answer was cut: http.client takes a cut head for a whole."""
        if self.late:
            raise TimeoutError

    def _connected(self) -> socket.socket:
        addresses = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        problem: OSError = TimeoutError()
        for family, kind, protocol, _, address in addresses[:MAX_ADDRESSES]:
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


@dataclass(frozen=True)
class Remote:
    """The registry at ``url``; requests go there and nowhere else."""

    url: str
    fetcher: Fetcher

    @classmethod
    def at(cls, url: str, fetcher: Fetcher) -> "Remote":
        """Return the registry at a URL; only scheme, host and port count.

        Raises:
            Refused: the URL is not http or https.
        """
        return cls(site(url), fetcher)

    @property
    def has_tls(self) -> bool:
        return self.url.startswith("https://")

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> HttpAnswer:
        """Send one request to the registry. Raises what :meth:`Fetcher.fetch` raises."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return self.fetcher.fetch(f"{self.url}{path}", method, sent, body)

    def resolved(self, location: str) -> str:
        """Return the URL that a ``Location`` header leads to."""
        return urljoin(f"{self.url}/", location)

    def is_own(self, url: str) -> bool:
        """Whether a URL leads to this registry as clients know it: same scheme, host and port."""
        return origin(url) == origin(self.url)


def origin(url: str) -> tuple[str, str | None, int | None] | None:
    """Return scheme, host and port of a URL (RFC 6454, 4), None if it has none."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None


class Unreachable(AuthserverError):
    """No HTTP answer came. The message says why, and ``cure`` what may help."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.cure = cure


def explained(place: str, error: Exception, *, late: bool, seconds: float) -> Unreachable:
    """Return why ``place`` gave no answer; ``late`` means that it was cut after ``seconds``."""
    match error:
        case _ if late or isinstance(error, TimeoutError):
            return Unreachable(
                f"{place} does not answer within {seconds:.0f} seconds",
                "let this machine reach it: look at firewalls, at the port, and at whether it runs",
            )
        case ssl.SSLError():
            return _without_tls(place, error)
        case socket.gaierror():
            return Unreachable(
                f"the name of {place} is not known here",
                "write the name right, or make this machine's DNS know it",
            )
        case ConnectionRefusedError():
            return Unreachable(
                f"nothing listens at {place}", "start it, or name the right host and port"
            )
        case OSError():
            return Unreachable(
                f"{place} cannot be reached: {printable(error.strerror or str(error))}",
                "let this machine reach it",
            )
    return Unreachable(
        f"what {place} answers is not HTTP: {printable(str(error) or type(error).__name__)}",
        "name the port that speaks HTTP; one that has TLS needs https://",
    )


def _without_tls(place: str, error: ssl.SSLError) -> Unreachable:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable(
            f"the TLS certificate of {place} is not trusted here: {error.verify_message}",
            "name the CA that issued it with --ca-file, or have it issued for this name; "
            "clients need the same",
        )
    return Unreachable(
        f"{place} does not speak TLS: {printable(error.reason or 'the handshake failed')}",
        "write http:// if it has no TLS, or name the port that has",
    )

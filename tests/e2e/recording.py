"""A proxy in front of our server that notes what clients ask of it, and no secret."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

SECRET = ("password", "refresh_token")
MASKED = "***"
HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


@dataclass(frozen=True)
class Request:
    """One request and the status of its answer.

    ``scheme`` is of the ``Authorization`` header, with the name that Basic came with. ``length``
    says how the end of the body is told.
    """

    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    scheme: str
    length: str
    agent: str
    status: int


@dataclass
class Recorder:
    """Passes requests on to ``port`` and notes them."""

    port: int
    _noted: list[Request] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, request: Request) -> None:
        with self._lock:
            self._noted.append(request)

    def take(self) -> list[Request]:
        """Return what was noted since the last time, in the order of the answers."""
        with self._lock:
            taken, self._noted = self._noted, []
        return taken

    def handler(recorder) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is a request's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body go in two writes; the second one must not wait for the client.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body, length = _body(self)
                answer = HTTPConnection("127.0.0.1", recorder.port, timeout=60)
                sent = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
                chunked = length == "chunked"
                parts = [body] if chunked else body
                try:
                    answer.request(self.command, self.path, parts, sent, encode_chunked=chunked)
                    response = answer.getresponse()
                    content = response.read()
                finally:
                    answer.close()
                recorder.note(_request(self, body, length, response.status))
                self.send_response_only(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET  # noqa: N815 - its base class calls it so

            def log_message(self, *_: object) -> None:
                """Write nothing: what is worth it is noted."""

        return Handler


@contextmanager
def recording(port: int, recorded_port: int) -> Iterator[Recorder]:
    """Listen on ``recorded_port`` of loopback for our server on ``port``, until the block ends."""
    recorder = Recorder(port)
    with ThreadingHTTPServer(("127.0.0.1", recorded_port), recorder.handler()) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join()


def _body(handler: BaseHTTPRequestHandler) -> tuple[bytes, str]:
    """Read a request's body; return it and how its end was told."""
    if "chunked" in handler.headers.get("Transfer-Encoding", ""):
        return b"".join(_chunks(handler)), "chunked"
    if "Content-Length" in handler.headers:
        return handler.rfile.read(int(handler.headers["Content-Length"])), "Content-Length"
    return b"", ""


def _chunks(handler: BaseHTTPRequestHandler) -> Iterator[bytes]:
    while size := int(handler.rfile.readline().partition(b";")[0], 16):
        yield handler.rfile.read(size)
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        pass


def _request(handler: BaseHTTPRequestHandler, body: bytes, length: str, status: int) -> Request:
    path, query = urlsplit(handler.path).path, urlsplit(handler.path).query
    given = [
        *parse_qsl(query, keep_blank_values=True),
        *parse_qsl(body.decode(), keep_blank_values=True),
    ]
    masked = ((name, MASKED if name in SECRET else value) for name, value in given)
    agent = handler.headers.get("User-Agent", "").partition(" ")[0].partition("/")[0]
    return Request(
        handler.command,
        path,
        tuple(sorted(masked)),
        _scheme(handler.headers.get("Authorization", "")),
        length,
        agent,
        status,
    )


def _scheme(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return scheme
    name = base64.b64decode(credentials).decode().partition(":")[0]
    return f"{scheme} {name or 'without a name'}"

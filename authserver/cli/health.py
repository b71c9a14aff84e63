"""``authserver health``."""

from __future__ import annotations

import json
import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from authserver.cli.context import Context, pass_context
from authserver.core.errors import Refused
from authserver.runtime import settings as runtime_settings

if TYPE_CHECKING:
    from authserver.runtime.settings import Settings

TIMEOUT = 5


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@click.command("health")
@click.option("--url", help="Base URL of the server; otherwise what this machine serves.")
@pass_context
def command(context: Context, url: str | None) -> None:
    """Ask a running server whether it can issue tokens.

    Exit status 1 if not. This is what the container's HEALTHCHECK runs.
    """
    settings = context.settings
    where = url or _here(settings)
    ready, body = readiness(settings, url)
    try:
        status = json.loads(body)["status"] if ready else body.decode(errors="replace")
    except (ValueError, LookupError, TypeError) as error:
        raise Refused(f"the server at {where} does not answer: {error}") from None
    click.echo(status)
    if not ready:
        raise Refused(f"the server at {where} is not ready")


def readiness(settings: Settings, url: str | None = None) -> tuple[bool, bytes]:
    """Return whether the server at ``url``, or that of this machine, is ready, and its answer.

    Raises:
        Refused: it does not answer.
    """
    try:
        connection, path = _connect(url) if url else (_connect_here(settings), "")
        connection.request("GET", f"{path}/readyz")
        response = connection.getresponse()
        body = response.read()
        connection.close()
    except (OSError, ValueError, HTTPException) as error:
        raise Refused(f"the server at {url or _here(settings)} does not answer: {error}") from None
    return response.status == 200, body


def _here(settings: Settings) -> str:
    if settings.unix_socket is not None:
        return f"unix:{settings.unix_socket}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"{settings.scheme}://{runtime_settings.bracketed(host)}:{settings.port}"


def _connect_here(settings: Settings) -> HTTPConnection:
    if settings.unix_socket is not None:
        return _UnixConnection(settings.unix_socket)
    # The certificate names what clients call it, not this machine's own address.
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return _connect(_here(settings), trust)[0]


def _connect(url: str, trust: ssl.SSLContext | None = None) -> tuple[HTTPConnection, str]:
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if parts.scheme == "https":
        return HTTPSConnection(parts.netloc, timeout=TIMEOUT, context=trust), path
    return HTTPConnection(parts.netloc, timeout=TIMEOUT), path

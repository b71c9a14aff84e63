"""One request over a connection of its own, by ourselves or by curl."""

import io
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, parse_headers
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.programs import require
from tests.world import basic


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def challenge(self) -> dict[str, str]:
        """The parameters of a ``Bearer`` challenge."""
        scheme, _, parameters = self.headers["WWW-Authenticate"].partition(" ")
        assert scheme == "Bearer"
        return dict(re.findall(r'(\w+)="([^"]*)"', parameters))


def fetch(
    url: str,
    method: str = "GET",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    seconds: float = 60,
    source: str | None = None,
) -> Answer:
    """Send one request and close the connection; ``source`` is the address to send it from."""
    parts = urlsplit(url)
    where = (source, 0) if source else None
    connection = HTTPConnection(parts.netloc, timeout=seconds, source_address=where)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.msg, response.read())
    finally:
        connection.close()


def ask_for_token(
    realm: str,
    *scopes: str,
    auth: tuple[str, str] | None = None,
    service: str = "registry",
    source: str | None = None,
) -> Answer:
    """Ask for a registry token; ``auth`` is a name and a password."""
    query = urlencode([("service", service), *(("scope", scope) for scope in scopes)])
    headers = {"Authorization": basic(*auth)} if auth else None
    return fetch(f"{realm}?{query}", headers=headers, source=source)


def curl(*args: str) -> Answer:
    """Send one request with curl."""
    require("curl")
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--noproxy", "*", "--include", *args],
        capture_output=True,
        timeout=60,
        check=True,
    )
    answer = io.BytesIO(done.stdout)
    status = int(answer.readline().split()[1])
    return Answer(status, parse_headers(answer), answer.read())

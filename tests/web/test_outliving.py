"""No exchange outlives its answer: while one is there, Granian answers nothing else on its
connection, which a proxy may have given to another client.
"""

import json
import weakref
from copy import copy
from dataclasses import dataclass, field
from http import HTTPMethod
from itertools import product
from typing import Any

import pytest
from structlog.testing import capture_logs

from authserver.web.api import router
from authserver.web.api.openapi import text
from authserver.web.bodies import MAX_BYTES
from authserver.web.server.gateway import Gateway
from authserver.web.server.worker import gateway_over
from authserver.web.token import FORM, PATHS
from tests.web.exchanges import Exchange, Incoming, Pair, Scope
from tests.world import ADMIN, PASSWORD, World, basic, wait_until

Pairs = tuple[Pair, ...]

API: dict[str, Any] = json.loads(text(router.NOUNS))["paths"]
OTHERS = (
    "/invitation",
    "/invitation/",
    "/livez",
    "/readyz",
    "/.well-known/jwks.json",
    "/bundle.pem",
    "/nothing",
    "/token\n",
    "/api/v1/nothing",
    "/api/v1/openapi.json",
)
ALL = sorted(
    {*PATHS, *OTHERS}
    | {
        path.replace("{name}", ADMIN).replace("{service}", "registry").replace("{id}", "1")
        for path in API
    }
)
SHOWN: tuple[Pairs, ...] = (
    (),
    (("authorization", basic(ADMIN, PASSWORD)),),
    (("authorization", "Basic ???"),),
)
BODIES: tuple[tuple[Pairs, bytes], ...] = (
    ((), b""),
    ((("content-length", "9000"),), b"a=" + b"b" * 8998),
    ((("transfer-encoding", "chunked"), ("content-type", FORM)), b"grant_type=password"),
    ((("content-length", str(MAX_BYTES + 1)),), b"x" * (MAX_BYTES + 1)),
    ((("content-length", "2"), ("content-type", "application/json")), b"{}"),
)


@dataclass
class Asking:
    """Has requests answered, and knows what is still there of them."""

    taking: Gateway
    parts: dict[tuple[str, str, int], list[weakref.ref[Any]]] = field(default_factory=dict)

    def ask(self, scope: Scope, body: bytes = b"") -> int:
        exchange = Exchange(body, b"")
        self.taking(Incoming(scope, exchange))
        status = exchange.status
        asked = scope["method"], scope["path"], status
        kept = self.parts.setdefault(asked, [])
        kept += [weakref.ref(exchange), weakref.ref(scope)]
        return status

    def left(self) -> list[tuple[str, str, int]]:
        """Return what requests were of which something is left."""
        # The threads that answer have their last lines to run.
        wait_until(lambda: not self._left(), 5)
        return self._left()

    def _left(self) -> list[tuple[str, str, int]]:
        return [asked for asked, parts in self.parts.items() if any(part() for part in parts)]


@pytest.mark.parametrize("method", [*HTTPMethod, "FOO"])
def test_no_exchange_outlives_its_answer(world: World, no_collection: None, method: str) -> None:
    asking = Asking(gateway_over(world.wiring))
    for path, shown, (more, body) in product(ALL, SHOWN, BODIES):
        asking.ask(Scope(str(method), path, headers=(*shown, *more)), body)
    assert asking.left() == []


STATUSES = {
    200: Scope(),
    400: Scope(
        "POST",
        headers=(
            ("content-length", "3"),
            ("content-type", FORM),
        ),
    ),
    401: Scope(headers=(("authorization", "Basic ???"),)),
    404: Scope("PUT", "/nothing", headers=(("content-length", "9000"),)),
    405: Scope("PUT", "/invitation", headers=(("content-length", "9000"),)),
    413: Scope("POST", "/invitation", headers=(("transfer-encoding", "chunked"),)),
}


@pytest.mark.parametrize("status", STATUSES)
def test_no_exchange_outlives_this_status(world: World, no_collection: None, status: int) -> None:
    asking, scope = Asking(gateway_over(world.wiring)), STATUSES[status]
    body = b"x" * (MAX_BYTES + 1) if status == 413 else b"a=b"
    assert asking.ask(copy(scope), body) == status
    assert asking.left() == []


@pytest.mark.parametrize("path", ["/token", "/readyz", "/invitation"])
def test_no_exchange_outlives_an_unexpected_error(
    world: World, monkeypatch: pytest.MonkeyPatch, no_collection: None, path: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    for place in (
        "authserver.auth.issuer.Issuer.issue",
        "authserver.web.health.failures",
        "authserver.web.pages.page.FormPage.answer",
    ):
        monkeypatch.setattr(place, fail)
    asking = Asking(gateway_over(world.wiring))
    # The log as tests have it keeps what it shows.
    with capture_logs() as told:
        assert asking.ask(Scope(path=path)) == 500
        told.clear()
    assert asking.left() == []

"""Pages in browsers: only those of the named origins may read tokens and public keys."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from werkzeug.test import TestResponse

from authserver.runtime.settings import Settings
from authserver.web.server.front import BURST
from tests.web.faults import put_out_of_reach
from tests.world import ADMIN, PASSWORD, World, basic

UI, OTHER = "https://ui.example.com", "http://localhost:8080"
STRANGERS = (
    "https://evil.example.com",
    "https://ui.example.com.evil.example",
    "https://ui.example.com:8443",
    "http://ui.example.com",
    "HTTPS://UI.EXAMPLE.COM",
    f"{UI}, {UI}",
    f"{UI}/",
    "null",
    "*",
    "",
)
PATHS = ("/token", "/token/", "/auth/token", "/.well-known/jwks.json", "/bundle.pem")
ASKING = {
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization",
}


@pytest.fixture
def named(settings: Settings) -> Iterator[World]:
    """A world that two origins may ask."""
    values = settings.model_dump() | {"cors_origins": f"{UI}, {OTHER}"}
    world = World.over(Settings(**values))
    yield world
    world.close()


def cors(response: TestResponse) -> dict[str, str]:
    return {k: v for k, v in response.headers.items() if k.startswith("Access-Control-")}


def readable(response: TestResponse, origin: str = UI) -> bool:
    """Whether a page of ``origin`` may read this, and caches keep it to that origin."""
    assert "*" not in cors(response).values()
    assert response.headers.getlist("Vary") == ["Origin"]
    return cors(response) == {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "WWW-Authenticate, Retry-After",
    }


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [UI, OTHER])
def test_a_named_origin_may_ask_first(named: World, path: str, origin: str) -> None:
    response = named.client.options(path, headers=ASKING | {"Origin": origin})
    assert (response.status_code, response.data) == (204, b"")
    allowed = cors(response)
    assert allowed["Access-Control-Allow-Origin"] == origin
    assert allowed["Access-Control-Allow-Credentials"] == "true"
    assert allowed["Access-Control-Allow-Methods"] == "GET, POST"
    assert allowed["Access-Control-Allow-Headers"] == "Authorization, Content-Type, Accept"
    assert int(allowed["Access-Control-Max-Age"]) > 0
    assert response.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", STRANGERS)
def test_another_origin_gets_nothing(named: World, path: str, origin: str) -> None:
    asked = named.client.options(path, headers=ASKING | {"Origin": origin})
    assert (asked.status_code, cors(asked)) == (405, {})
    answer = named.client.get(path, headers={"Origin": origin})
    assert (answer.status_code, cors(answer)) == (200, {})
    assert answer.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize("path", PATHS)
def test_by_default_there_is_none(world: World, path: str) -> None:
    asked = world.client.options(path, headers=ASKING | {"Origin": UI})
    assert (asked.status_code, cors(asked)) == (405, {})
    answer = world.client.get(path, headers={"Origin": UI})
    assert (answer.status_code, cors(answer)) == (200, {})
    assert "Vary" not in answer.headers


def test_options_without_a_method_to_ask_for_is_no_preflight(named: World) -> None:
    response = named.client.options("/token", headers={"Origin": UI})
    assert response.status_code == 405
    assert readable(response)


@pytest.mark.parametrize("path", ["/invitation", "/api/v1/me", "/livez", "/readyz", "/nothing"])
def test_no_other_path_is_for_pages(named: World, path: str) -> None:
    for response in (
        named.client.get(path, headers={"Origin": UI}),
        named.client.options(path, headers=ASKING | {"Origin": UI}),
    ):
        assert cors(response) == {}
        assert response.status_code != 204


def test_answers_and_errors_can_be_read(named: World) -> None:
    page = {"Origin": UI}

    def get(path: str, **headers: str) -> TestResponse:
        return named.client.get(path, headers=page | headers)

    answers = {
        200: get("/token", Authorization=basic(ADMIN, PASSWORD)),
        400: get("/token?service=other"),
        401: get("/token", Authorization=basic(ADMIN, "wrong")),
        404: get("/bundle.pem?service=other"),
        405: named.client.put("/token", headers=page),
    }
    named.wiring.issuer.backends.lockout.tarpit.seconds = 0
    for number in range(40):
        answers[429] = get("/token", Authorization=basic(ADMIN, f"wrong {number}"))
    etag = get("/bundle.pem").headers["ETag"]
    answers[304] = get("/bundle.pem", **{"If-None-Match": etag})
    put_out_of_reach(named)
    with suppress(Exception):
        named.wiring.state.refresh()
    late = named.wiring.state.current.read_at + 10_000
    named.wiring.state.monotonic = lambda: late
    answers[503] = get("/token")
    assert {status: it.status_code for status, it in answers.items()} == {it: it for it in answers}
    assert all(readable(response) for response in answers.values())
    assert answers[401].headers["WWW-Authenticate"].startswith("Basic")
    assert answers[429].headers["Retry-After"]


def test_a_form_is_answered_too(named: World) -> None:
    form = {"grant_type": "password", "client_id": "ui", "service": "registry"}
    form |= {"username": ADMIN, "password": PASSWORD}
    response = named.client.post("/token", data=form, headers={"Origin": UI})
    assert response.status_code == 200
    assert readable(response)


def test_too_many_requests_can_be_read_and_preflights_are_among_them(named: World) -> None:
    rate = named.wiring.settings.requests_per_address
    for _ in range(rate * BURST + rate):
        response = named.client.options("/token", headers=ASKING | {"Origin": UI})
    assert response.status_code == 429
    assert readable(response)


def test_a_path_prefix_changes_nothing(settings: Settings) -> None:
    values = settings.model_dump() | {"cors_origins": UI, "public_url": "https://a.example/auth"}
    world = World.over(Settings(**values))
    response = world.client.options("/auth/token", headers=ASKING | {"Origin": UI})
    assert response.status_code == 204
    assert readable(world.client.get("/auth/token", headers={"Origin": UI}))
    world.close()


def test_what_is_answered_at_once_knows_the_origin(named: World) -> None:
    from authserver.web.server.worker import gateway_over  # noqa: PLC0415

    assert b"origin" in gateway_over(named.wiring)._keys
    assert b"access-control-request-method" in gateway_over(named.wiring)._keys

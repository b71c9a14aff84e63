"""The admin API on a listener of its own: what is there, what is no more on the public one."""

from collections.abc import Iterator
from contextlib import ExitStack
from io import BufferedReader, BytesIO
from pathlib import Path

import pytest
from werkzeug.test import Client, TestResponse

from authserver.runtime.settings import Settings
from authserver.web.app import create_administration
from authserver.web.index import API, CONSOLE, PUBLIC
from authserver.web.wiring import BODIES_AT_ONCE
from tests import stores
from tests.world import ADMIN, PASSWORD, World, basic

AUTH = {"Authorization": basic(ADMIN, PASSWORD)}
ME = "/api/v1/me"


@pytest.fixture
def apart(settings: Settings) -> Iterator[World]:
    world = World.over(stores.settings(settings.data_dir, admin_listen="127.0.0.1:5002"))
    yield world
    world.close()


@pytest.fixture
def administration(apart: World) -> Client:
    return Client(create_administration(apart.wiring))


def anything(client: Client, path: str) -> TestResponse:
    return client.get(path, headers=AUTH)


def arriving(
    client: Client,
    method: str,
    path: str,
    body: bytes,
    content_type: str = "application/x-www-form-urlencoded",
) -> TestResponse:
    """Send a body that has not come yet when the request is taken."""
    return client.open(
        path,
        method=method,
        headers=AUTH,
        content_type=content_type,
        content_length=len(body),
        input_stream=BufferedReader(BytesIO(body)),
    )


@pytest.mark.parametrize("path", [ME, "/api/v1/users", "/api/v1/openapi.json", "/api/v1/nothing"])
def test_the_public_listener_has_none_of_the_api(apart: World, path: str) -> None:
    missing, nowhere = anything(apart.client, path), anything(apart.client, "/nowhere")
    assert (missing.status_code, missing.text) == (404, nowhere.text)


def test_the_administration_has_the_api(administration: Client) -> None:
    answer = anything(administration, ME)
    assert answer.status_code == 200, answer.text
    assert administration.get(ME).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["/token", "/auth/token", "/invitation", "/livez", "/readyz", "/api/v1", "/metrics"],
)
def test_the_administration_has_nothing_else(administration: Client, path: str) -> None:
    assert anything(administration, path).status_code == 404


def test_each_listener_says_what_it_has(apart: World, administration: Client) -> None:
    for client, places in ((apart.client, PUBLIC | CONSOLE), (administration, API | CONSOLE)):
        said = client.get("/").get_json()
        assert said == places
        for name in sorted(set(said) - {"token", "console"}):
            assert anything(client, said[name]).status_code == 200, name


def test_the_public_listener_has_everything_else(apart: World) -> None:
    assert apart.get("service=registry", auth=(ADMIN, PASSWORD)).status_code == 200
    assert {
        apart.client.get(path).status_code for path in ("/invitation", "/livez", "/readyz")
    } == {200}


def test_clients_of_the_public_listener_take_no_place_of_the_administrations(
    apart: World, administration: Client
) -> None:
    with ExitStack() as taken:
        for number in range(BODIES_AT_ONCE):
            taken.enter_context(apart.wiring.bodies.places.take(f"192.0.2.{number}"))
        assert arriving(apart.client, "POST", "/invitation", b"code=x").status_code == 503
        made = arriving(administration, "PUT", "/api/v1/robots/ci", b"{}", "application/json")
    assert made.status_code == 201, made.text


def test_a_socket_is_no_address(settings: Settings, tmp_path: Path) -> None:
    chosen = stores.settings(settings.data_dir, admin_listen=f"unix:{tmp_path}/admin.sock")
    assert chosen.admin_place == tmp_path / "admin.sock"

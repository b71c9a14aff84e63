"""The console's pages of one's own app tokens."""

import json
import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from authserver.db import console_sessions
from authserver.db.models import ConsoleSessionRow
from tests.stores import dumped
from tests.web.test_api import call, got
from tests.web.test_console import made_with
from tests.web.visitor import Visitor, content
from tests.world import ADMIN, PASSWORD, World

FORM = {"name": "laptop", "reach": "some", "lifetime": "7776000"}


@pytest.fixture
def alice(world: World) -> Visitor:
    """A user who is logged in, with two rules."""
    world.user("alice")
    world.group("team", "alice")
    world.allow("user:alice", "home/{account}/**", "*")
    world.allow("group:team", "team/**", "pull,push")
    world.deny("everyone", "team/**", "push")
    visitor = Visitor(world)
    assert visitor.log_in("alice").status_code == 303
    return visitor


def secret_in(page: str) -> str:
    (found,) = set(re.findall(r"authserver_app_\w+", page))
    return str(found)


def tokens_of(world: World, name: str = "alice") -> Any:
    return got(world, f"/tokens?account={name}")["items"]


def test_a_ceiling_is_picked_from_what_i_may_do(world: World, alice: Visitor) -> None:
    page = alice.get("my/tokens/new").text
    offered = {unescape(each) for each in re.findall(r'name="ceiling" value="([^"]+)"', page)}
    home = "repository:home/{account}/**"
    wanted = {f"{home}:{action}" for action in ("pull", "push", "delete")}
    assert offered == wanted | {"repository:team/**:pull"}
    chosen = [f"{home}:pull", f"{home}:delete", "repository:team/**:pull"]
    form = FORM | {"ceiling": chosen, "scopes": "repository:out/x:pull,push\n", "networks": ""}
    answer = alice.submit("my/tokens/new", form)
    assert answer.status_code == 200
    (token,) = tokens_of(world)
    assert token["scopes"] == [
        f"{home}:pull,delete",
        "repository:team/**:pull",
        "repository:out/x:pull,push",
    ]
    assert token["created_by"] == "account:alice"
    secret = secret_in(answer.text)
    world.wiring.state.refresh()
    granted = world.granted(
        "service=registry&scope=repository:home/alice/x:pull,push", auth=("alice", secret)
    )
    assert granted == {"repository:home/alice/x": ["pull"]}


def test_the_secret_is_shown_once_with_what_to_do_with_it(world: World, alice: Visitor) -> None:
    answer = alice.submit("my/tokens/new", FORM | {"reach": "all"})
    secret = secret_in(answer.text)
    page = content(answer)
    assert answer.headers["Cache-Control"] == "no-store"
    for line in ("docker login -u alice REGISTRY", "podman login -u alice REGISTRY"):
        assert line in page
    manifest = unescape(answer.text[answer.text.index("{\n") :].partition("</code>")[0])
    assert manifest == unescape(re.sub("<[^>]+>", "", manifest))
    kept = json.loads(unescape(manifest.replace("&#34;", '"')))
    assert kept["metadata"]["name"] == "alice-laptop"
    assert "auths" in json.loads(kept["stringData"][".dockerconfigjson"])
    for page_ in ("my/tokens", "my/tokens/show?id=1"):
        assert secret not in alice.client.get(f"/console/{page_}").text
    assert secret not in dumped(world.wiring.store)
    command = page[page.index("authserver token create") :]
    assert command.startswith("authserver token create alice --name laptop --expires 90d")


def test_nothing_chosen_makes_no_token_for_everything(world: World, alice: Visitor) -> None:
    for form in (FORM, {"name": "x"}, FORM | {"scopes": " \n"}):
        answer = alice.submit("my/tokens/new", form)
        assert answer.status_code == 422
        assert "Choose what it may be used for" in content(answer)
    assert tokens_of(world) == []
    assert "laptop" in alice.submit("my/tokens/new", FORM).text


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"networks": "nowhere"}, 409),
        ({"scopes": "repository:UPPER:pull"}, 409),
        ({"scopes": "team"}, 409),
        ({"lifetime": "soon"}, 422),
        ({"lifetime": ""}, 422),
        ({"lifetime": "9" * 20}, 422),
        ({"name": ""}, 422),
        ({"name": "a/b"}, 409),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(
    world: World, alice: Visitor, form: dict[str, str], status: int
) -> None:
    typed = FORM | {"ceiling": "repository:team/**:pull", "scopes": "repository:t/x:pull"} | form
    answer = alice.submit("my/tokens/new", typed)
    assert answer.status_code == status
    assert 'value="repository:team/**:pull" checked' in answer.text
    assert tokens_of(world) == []


def test_only_administrators_make_tokens_that_administer_and_prove_themselves_again(
    world: World, alice: Visitor
) -> None:
    assert 'name="admin"' not in alice.get("my/tokens/new").text
    office = Visitor(world)
    office.log_in()
    assert 'name="admin"' in office.get("my/tokens/new").text
    with world.wiring.store.read() as session:
        now = world.wiring.store.time(session)
    with world.wiring.store.append() as session:
        session.execute(update(ConsoleSessionRow).values(proved_at=now - console_sessions.FRESH))
    asked = office.post("my/tokens/new", FORM | {"admin": "on"})
    assert asked.location.startswith("/console/confirm")
    by_text = office.post("my/tokens/new", FORM | {"scopes": "admin"})
    assert by_text.location.startswith("/console/confirm")
    assert tokens_of(world, ADMIN) == []
    office.post("confirm", {"password": PASSWORD})
    assert office.submit("my/tokens/new", FORM | {"admin": "on"}).status_code == 200
    (token,) = tokens_of(world, ADMIN)
    assert token["scopes"] == ["admin"]
    with world.wiring.store.append() as session:
        session.execute(update(ConsoleSessionRow).values(proved_at=now - console_sessions.FRESH))
    for page in (office.get("my/tokens/rotate", id=1), office.post("my/tokens/rotate", id=1)):
        assert page.location.startswith("/console/confirm")


def test_a_token_gets_another_secret(world: World, alice: Visitor) -> None:
    former = secret_in(alice.submit("my/tokens/new", FORM | {"reach": "all"}).text)
    answer = alice.submit("my/tokens/rotate", {"grace": "0"}, id=1)
    assert answer.status_code == 200
    assert secret_in(answer.text) != former
    world.wiring.state.refresh()
    query = "service=registry"
    assert world.get(query, auth=("alice", secret_in(answer.text))).status_code == 200
    assert world.get(query, auth=("alice", former)).status_code == 401
    assert alice.submit("my/tokens/rotate", {"grace": "-1"}, id=1).status_code == 422


def test_a_token_is_revoked(world: World, alice: Visitor) -> None:
    world.app_token("alice", name="old")
    assert "the app token old" in content(alice.get("my/tokens/revoke", id=1))
    assert alice.submit("my/tokens/revoke", {}, id=1).location == "/console/my/tokens"
    assert tokens_of(world) == []
    assert "You have no app tokens." in content(alice.get("my/tokens"))


def test_tokens_of_others_are_not_there(world: World, alice: Visitor) -> None:
    number, _ = world.app_token(ADMIN, name="theirs")
    assert "theirs" not in alice.get("my/tokens").text
    for page in ("show", "rotate", "revoke"):
        for asked in (number, 99, "x", "", "1" * 30):
            assert alice.get(f"my/tokens/{page}", id=asked).status_code == 404
    for page in ("rotate", "revoke"):
        answer = alice.post(f"my/tokens/{page}", {"tag": "*", "grace": "0"}, id=number)
        assert answer.status_code == 404
    assert len(tokens_of(world, ADMIN)) == 1


def test_the_list_tells_bounds_and_use(world: World, alice: Visitor) -> None:
    _, secret = world.app_token("alice", name="all", lifetime=None)
    world.app_token("alice", "repository:x/y:pull", name="some", networks=("10.0.0.0/8",))
    world.app_token("alice", name="late", lifetime=timedelta(seconds=-1))
    page = content(alice.get("my/tokens"))
    for text in ("all that the account may do", "repository:x/y:pull", "10.0.0.0/8", "expired"):
        assert text in page
    assert secret not in alice.get("my/tokens", format="json").text
    rows = json.loads(alice.get("my/tokens", format="json", q="som").text)
    assert [row["name"] for row in rows] == ["some"]


def test_hostile_names_are_quoted(world: World) -> None:
    name = "a'$(id)"
    world.user(name)
    visitor = Visitor(world)
    visitor.log_in(name)
    answer = visitor.submit("my/tokens/new", FORM | {"reach": "all", "name": "<b>;x"})
    assert answer.status_code == 409
    answer = visitor.submit("my/tokens/new", FORM | {"reach": "all", "name": "&;`x`"})
    assert """docker login -u 'a'"'"'$(id)' REGISTRY""" in content(answer)
    assert "--name '&;`x`'" in content(answer)
    assert "<b>" not in answer.text
    call(world, "GET", "/me", (name, secret_in(answer.text)), 200)


def test_the_registry_is_named_as_clients_name_it(
    template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = made_with(template, tmp_path_factory, registry_host="registry.example.com:8443")
    office = Visitor(world)
    office.log_in()
    page = content(office.submit("my/tokens/new", FORM | {"reach": "all"}))
    assert "docker login -u admin registry.example.com:8443" in page
    assert '\\"registry.example.com:8443\\"' in page
    assert "REGISTRY" not in page
    world.close()

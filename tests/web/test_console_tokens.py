"""The console's pages on the app tokens of all accounts."""

import re
from typing import Any

import pytest
from sqlalchemy import update

from authserver.db import accounts, console_sessions
from authserver.db.models import ConsoleSessionRow
from tests.stores import dumped
from tests.web.visitor import Visitor, content
from tests.world import World

FORM = {"name": "pipeline", "reach": "some", "lifetime": "7776000"}


@pytest.fixture
def office(world: World) -> Visitor:
    """An administrator who is logged in; the robot ci may push to team/**."""
    world.robot("ci")
    world.allow("robot:ci", "team/**", "pull,push")
    visitor = Visitor(world)
    assert visitor.log_in().status_code == 303
    return visitor


def secret_in(page: str) -> str:
    (found,) = set(re.findall(r"authserver_app_\w+", page))
    return str(found)


def test_a_token_is_made_for_a_robot_and_shown_once(world: World, office: Visitor) -> None:
    asked = office.get("tokens/new")
    assert 'name="account"' in asked.text
    form: dict[str, Any] = FORM | {"ceiling": ["repository:team/**:pull"], "networks": ""}
    made = office.submit("tokens/new", form, account="ci")
    secret = secret_in(made.text)
    assert made.headers["Cache-Control"] == "no-store"
    for line in ("docker login -u ci", "podman login -u ci", "kubernetes.io/dockerconfigjson"):
        assert line in made.text.replace("&#34;", '"')
    assert secret not in dumped(world.wiring.store)
    world.wiring.state.refresh()
    scope = "service=registry&scope=repository:team/app:pull,push"
    assert world.granted(scope, auth=("ci", secret)) == {"repository:team/app": ["pull"]}
    assert "pipeline ci repository:team/**:pull anywhere" in content(office.get("tokens"))
    assert secret not in office.get("tokens").text


def test_a_token_for_nobody_and_one_for_nothing_are_refused(office: Visitor) -> None:
    unknown = office.get("tokens/new", account="nobody")
    assert "nobody" in content(unknown)
    assert 'name="lifetime"' not in unknown.text
    nothing = office.submit("tokens/new", FORM, account="ci")
    assert nothing.status_code == 422
    assert "Choose what it may be used for" in content(nothing)
    assert 'value="pipeline"' in nothing.text
    assert "There are no app tokens." in content(office.get("tokens"))


def test_the_list_is_that_of_an_account(world: World, office: Visitor) -> None:
    world.user("alice")
    world.app_token("alice", name="laptop")
    world.app_token("ci", name="deploy")
    page = content(office.get("tokens", account="alice"))
    assert "laptop" in page
    assert "deploy" not in page
    assert "there is no" in content(office.get("tokens", account="nobody")).lower()


def test_a_token_is_rotated_and_revoked(world: World, office: Visitor) -> None:
    number, former = world.app_token("ci")
    made = office.submit("tokens/rotate", {"grace": "0"}, id=number)
    secret = secret_in(made.text)
    world.wiring.state.refresh()
    assert world.get("service=registry", auth=("ci", former)).status_code == 401
    assert world.get("service=registry", auth=("ci", secret)).status_code == 200
    assert office.submit("tokens/revoke", {}, id=number).location == "/console/tokens"
    world.wiring.state.refresh()
    assert world.get("service=registry", auth=("ci", secret)).status_code == 401
    assert office.get("tokens/show", id=number).status_code == 404


@pytest.mark.parametrize("right", ["admin", "auditor"])
def test_a_token_that_administers_needs_a_fresh_proof(
    world: World, office: Visitor, right: str
) -> None:
    number, _secret = world.app_token("ci", right)
    with world.wiring.store.append() as session:
        old = world.wiring.store.time(session) - console_sessions.FRESH
        session.execute(update(ConsoleSessionRow).values(proved_at=old))
    for form in ({"admin": "on"}, {"scopes": right}):
        made = office.post("tokens/new", FORM | form, account="ci")
        assert made.location.startswith("/console/confirm")
    for answer in (office.get("tokens/rotate", id=number), office.post("tokens/rotate", id=number)):
        assert answer.location.startswith("/console/confirm")


def test_stored_markup_in_names_is_text(world: World, office: Visitor) -> None:
    number, _secret = world.app_token("ci", name='x"&y')
    for page in ("tokens", f"tokens/show?id={number}", f"tokens/revoke?id={number}"):
        shown = office.get(page).text
        assert 'x"&y' not in shown
        assert "x&#34;&amp;y" in shown


@pytest.mark.parametrize("page", ["tokens/show", "tokens/rotate", "tokens/revoke"])
@pytest.mark.parametrize("number", ["", "x", "-1", "99999999999999999999", "7"])
def test_what_is_no_token_is_not_found(office: Visitor, page: str, number: str) -> None:
    assert office.get(page, id=number).status_code == 404


@pytest.mark.parametrize("role", ["user", "auditor"])
def test_others_make_no_tokens_here(world: World, office: Visitor, role: str) -> None:
    number, _secret = world.app_token("ci")
    world.user("alice")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", auditor=role == "auditor")
    world.wiring.state.refresh()
    visitor = Visitor(world)
    visitor.log_in("alice")
    for page in ("new", "rotate", "revoke"):
        assert visitor.get(f"tokens/{page}", id=number).status_code == 403
        assert visitor.post(f"tokens/{page}", FORM, id=number, account="ci").status_code == 403
    shown = visitor.get("tokens/show", id=number)
    assert shown.status_code == (200 if role == "auditor" else 403)
    assert "tokens/rotate" not in shown.text
    assert office.get("tokens/show", id=number).status_code == 200

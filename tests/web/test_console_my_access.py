"""The console's page of what one may do."""

import re

import pytest

from authserver.web.console.cells import NONE
from tests.web.visitor import Visitor, content
from tests.world import World


@pytest.fixture
def alice(world: World) -> Visitor:
    """A user who is logged in, with rules that are about others too."""
    for name in ("alice", "boss"):
        world.user(name)
    world.group("team", "alice")
    world.group("board", "boss")
    world.registry("mirror")
    world.allow("group:team,group:board", "team/**", "pull,push")
    world.deny("everyone,user:boss", "team/secret/**", "push")
    world.allow("user:alice", "hub/*", "pull", service="mirror", networks=["10.0.0.0/8"])
    world.allow("group:board", "vault/**", "*")
    world.allow("group:team", "catalog", "*", resource_type="registry", service="registry")
    visitor = Visitor(world)
    assert visitor.log_in("alice").status_code == 303
    return visitor


def without_ids(page: str) -> str:
    return re.sub(r"\d+(?=: (allow|deny)| \((allow|deny))", "N", page)


def ask(visitor: Visitor, repository: str, actions: str = "pull", **more: str) -> str:
    query = {"registry": "registry", "from": "192.0.2.1", "actions": actions} | more
    answer = visitor.get("my/access", repository=repository, **query)
    assert answer.status_code in (200, 409, 422), answer.status_code
    return content(answer)


def test_the_page_tells_what_i_may_do_and_nothing_of_others(alice: Visitor) -> None:
    page = without_ids(content(alice.get("my/access")))
    for text in (
        "team/** pull push N: deny everyone team/secret/** push on every registry",
        "registry N: allow group:team team/** pull,push on every registry",
        f"hub/* pull {NONE} N: allow user:alice hub/* pull on mirror from 10.0.0.0/8",
        "the registry's catalog list",
    ):
        assert text in page
    for word in ("boss", "board", "vault"):
        assert word not in page


def test_would_this_work(alice: Visitor) -> None:
    assert "Yes, this would work." in ask(alice, "team/app", "pull,push")
    page = ask(alice, "team/secret/x", "pull,push")
    assert "No, this would not work. Granted would be only: pull." in page
    assert (
        "push denied by rule N (deny everyone team/secret/** push on every registry)"
        in without_ids(page)
    )
    assert "authserver acl explain alice repository:team/secret/x:pull,push" in page
    page = ask(alice, "vault/x")
    assert "no rule allows pull" in page
    assert "vault/**" not in page


def test_it_is_asked_as_from_an_address_and_of_a_registry(alice: Visitor) -> None:
    here = {"registry": "mirror"}
    assert "Yes, this" in ask(alice, "hub/x", **here, **{"from": "10.1.2.3"})
    page = ask(alice, "hub/x", **here)
    assert "No, this" in page
    assert "came close" in page
    assert (
        "there is no registry 'elsewhere'".lower()
        in ask(alice, "hub/x", registry="elsewhere").lower()
    )
    assert "is no IP address" in ask(alice, "hub/x", **{"from": "here"})


@pytest.mark.parametrize("name", ["UPPER", "<b>x", "a:b:c", " ", "..", "a" * 3000, "x'$(id)"])
def test_odd_names_are_answered(alice: Visitor, name: str) -> None:
    query = {"registry": "registry", "from": "", "actions": "pull"}
    answer = alice.get("my/access", repository=name, **query)
    assert answer.status_code in (200, 409)
    assert "<b>" not in answer.text
    assert "Yes, this" not in answer.text


def test_who_may_do_nothing_learns_what_to_do(world: World) -> None:
    world.user("dora")
    visitor = Visitor(world)
    visitor.log_in("dora")
    page = visitor.get("my/access")
    assert "No rule lets you do anything yet." in content(page)
    assert "What may I do" in visitor.get("me").text

"""The console's questions: explain, who-can and effective, by GET, so that answers have links."""

import re
from html import unescape

import pytest

from authserver.db import accounts
from tests.web.visitor import Visitor, content
from tests.world import SERVICE, World

EXPLAIN = {"account": "alice", "scopes": "team/app:pull,push", "registry": SERVICE}
WHO_CAN = {"action": "pull", "repository": "team/app", "registry": SERVICE}
ASKED = {"ask": EXPLAIN, "ask/who-can": WHO_CAN, "ask/effective": {"account": "alice"}}


@pytest.fixture
def office(world: World) -> Visitor:
    world.user("alice")
    world.user("bob")
    world.allow("user:alice,user:bob", "team/**", "pull")
    world.deny("user:bob", "team/app", "pull", comment="<b>no</b>")
    visitor = Visitor(world)
    assert visitor.log_in().status_code == 303
    return visitor


def test_a_page_asks_nothing_until_it_is_filled_in(office: Visitor) -> None:
    for page in ASKED:
        shown = office.get(page)
        assert shown.status_code == 200
        assert 'role="alert"' not in shown.text


def test_explain_says_why_and_links_the_rules(world: World, office: Visitor) -> None:
    page = office.get("ask", **EXPLAIN)
    assert "Granted only: pull." in content(page)
    assert "/console/rules/show?id=3" in page.text
    close = office.get("ask", **EXPLAIN | {"scopes": "team/app:push other/app:pull"})
    assert content(close).count("Nothing is granted.") == 2
    assert "came close" in content(close)
    denied = office.get("ask", **EXPLAIN | {"account": "bob", "scopes": "team/app:pull"})
    assert "/console/rules/show?id=4" in denied.text
    world.disable("bob")
    assert "bob is disabled" in content(office.get("ask", **EXPLAIN | {"account": "bob"}))


def test_explain_takes_address_time_and_app_token(world: World, office: Visitor) -> None:
    world.allow("user:alice", "near/**", "pull", networks=["10.0.0.0/8"])
    asked = EXPLAIN | {"scopes": "near/app:pull"}
    assert "Nothing is granted." in content(office.get("ask", **asked))
    assert "Granted whole." in content(office.get("ask", **asked, **{"from": "10.1.2.3"}))
    token_id, _secret = world.app_token("alice", "repository:other/**:pull")
    page = content(office.get("ask", **asked, token=token_id, at="30d", **{"from": "10.1.2.3"}))
    assert "Nothing is granted." in page
    assert f"--from 10.1.2.3 --at 30d --token {token_id}" in page


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"account": "nobody"}, 409),
        ({"registry": "nowhere"}, 409),
        ({"registry": ""}, 422),
        ({"scopes": ""}, 422),
        ({"from": "here"}, 409),
        ({"at": "soon"}, 422),
        ({"token": "x"}, 422),
        ({"token": "9" * 30}, 422),
        ({"stray": "1"}, 422),
    ],
)
def test_a_question_that_is_wrong_says_so(
    office: Visitor, change: dict[str, str], status: int
) -> None:
    answer = office.get("ask", **EXPLAIN | change)
    assert answer.status_code == status
    assert 'role="alert"' in answer.text


def test_who_can_is_read_part_by_part(office: Visitor) -> None:
    names: list[str] = []
    page = office.get("ask/who-can", **WHO_CAN, limit=1)
    for _ in range(5):
        names += re.findall(r'ask/effective\?account=(\w+)"', page.text)
        found = re.search(r'<a rel="next" href="([^"]+)"', page.text)
        if found is None:
            break
        page = office.client.get(unescape(found[1]))
    assert names == ["admin", "alice"]
    nobody = office.get("ask/who-can", **WHO_CAN | {"action": "delete", "repository": "x/y"})
    assert nobody.status_code == 200


def test_effective_names_rules_and_denies(office: Visitor) -> None:
    page = office.get("ask/effective", account="bob")
    assert "team/**" in content(page)
    assert "/console/rules/show?id=3" in page.text
    assert "/console/rules/show?id=4" in page.text
    assert "It may do nothing." in content(office.get("ask/effective", account="anonymous"))


def test_hostile_questions_stand_as_text(office: Visitor) -> None:
    hostile = "<b>\"&'$(x)"
    for page, asked in ASKED.items():
        for name in asked:
            answer = office.get(page, **asked | {name: hostile})
            assert answer.status_code < 500
            assert "<b>" not in answer.text


def test_auditors_ask_and_others_do_not(world: World, office: Visitor) -> None:
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "bob", auditor=True)
    world.wiring.state.refresh()
    for name, status in (("alice", 403), ("bob", 200)):
        visitor = Visitor(world)
        visitor.log_in(name)
        for page, asked in ASKED.items():
            assert visitor.get(page, **asked).status_code == status

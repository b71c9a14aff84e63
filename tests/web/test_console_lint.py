"""The console's page of lint: findings by level, with their rules and remedies."""

import pytest

from authserver.db import accounts
from tests.web.visitor import Visitor, content
from tests.world import World


@pytest.fixture
def office(world: World) -> Visitor:
    visitor = Visitor(world)
    visitor.log_in()
    return visitor


def test_nothing_found_says_so(office: Visitor) -> None:
    assert "Nothing was found" in content(office.get("lint"))


def test_findings_have_their_level_rules_and_remedy(world: World, office: Visitor) -> None:
    wide = world.allow("everyone", "**", "push")
    world.group("empty")
    idle = world.allow("group:empty", "a", "pull")
    page = office.get("lint")
    shown = content(page)
    assert "public-write" in shown
    assert shown.index("public-write") < shown.index("nobody now")
    for rule in (wide, idle):
        assert f">rule {rule}</" in page.text
    assert f"acl disable {idle}" in shown


@pytest.mark.parametrize(
    ("query", "is_there"),
    [
        ({"level": "error"}, False),
        ({"level": "warning"}, True),
        ({"level": "", "unused_days": ""}, True),
        ({"unused_days": "30"}, True),
    ],
)
def test_the_level_is_chosen(
    world: World, office: Visitor, query: dict[str, str], *, is_there: bool
) -> None:
    world.group("empty")
    world.allow("group:empty", "a", "pull")
    page = office.get("lint", **query)
    assert page.status_code == 200
    assert ("nobody now" in content(page)) is is_there
    for name, text in query.items():
        assert not text or f"--{name.replace('_', '-')} {text}" in content(page)


@pytest.mark.parametrize("query", [{"level": "x"}, {"unused_days": "soon"}, {"other": "1"}])
def test_a_query_that_is_wrong_is_refused(office: Visitor, query: dict[str, str]) -> None:
    answer = office.get("lint", **query)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


def test_auditors_read_it_and_others_do_not(world: World) -> None:
    for name in ("alice", "vera"):
        world.user(name)
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "vera", auditor=True)
    world.wiring.state.refresh()
    for name, status in (("vera", 200), ("alice", 403)):
        visitor = Visitor(world)
        visitor.log_in(name)
        assert visitor.get("lint").status_code == status

"""The console's first page: what needs attention, for those who may read it."""

from collections.abc import Callable, Iterator

import pytest

from authserver.db import accounts
from authserver.policy.lint.findings import Level
from authserver.runtime.settings import Settings
from authserver.web.console.overview import LEVELS
from tests.web.test_api import got
from tests.web.test_console_second_factors import enrol
from tests.web.visitor import Visitor, content
from tests.world import World

ELSEWHERE = {"REMOTE_ADDR": "192.0.2.1"}
READABLE = "you are here without TLS"


@pytest.fixture
def office(world: World) -> Visitor:
    """An administrator who is logged in."""
    visitor = Visitor(world)
    assert visitor.log_in().status_code == 303
    return visitor


@pytest.fixture
def served(settings: Settings) -> Iterator[Callable[..., World]]:
    """Returns installations with other settings."""
    worlds = []

    def serve(**changed: object) -> World:
        worlds.append(World.over(settings.model_copy(update=changed)))
        return worlds[-1]

    yield serve
    for world in worlds:
        world.close()


def test_administrators_and_auditors_begin_there_and_others_at_their_account(
    world: World, office: Visitor
) -> None:
    assert office.get("").location == "/console/overview"
    for name in ("vera", "alice"):
        world.user(name)
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "vera", auditor=True)
    world.wiring.state.refresh()
    vera, alice = Visitor(world), Visitor(world)
    for visitor, name in ((vera, "vera"), (alice, "alice")):
        visitor.log_in(name)
    assert vera.get("").location == "/console/overview"
    assert vera.get("overview").status_code == 200
    assert alice.get("").location == "/console/me"
    assert alice.get("overview").status_code == 403
    assert "/console/overview" not in alice.get("me").text


def test_it_shows_each_item_with_what_helps(world: World, office: Visitor) -> None:
    world.user("R&D")
    world.allow("anonymous", "team/*", "push")
    world.user("gone")
    world.disable("gone")
    world.allow("user:gone", "a", "pull")
    page, items = office.get("overview"), got(world, "/overview")["items"]
    assert {item["level"] for item in items} == {*Level}
    text = content(page)
    for item in items:
        assert item["text"][1:] in text
        assert item["remedy"] is None or item["remedy"] in text
        if item["code"].startswith("lint"):
            assert all(name in text for name in item["first"])
    assert text.index("Errors") < text.index("Warnings") < text.index("Remarks")
    assert "R&amp;D" in page.text
    assert '<a href="/console/users">Open: Users</a>' in page.text


def test_many_are_few_names_and_a_number(world: World, office: Visitor) -> None:
    for number in range(7):
        world.user(f"u{number}")
    text = content(office.get("overview"))
    assert "8 users have no second factor" in text
    assert "u3 and 3 more" in text
    assert "u4" not in text


def test_where_nothing_needs_attention_it_says_so(
    office: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authserver.web.api.overview.in_order", lambda _: [])
    assert "Nothing needs attention." in content(office.get("overview"))


def test_pages_that_are_not_there_are_not_linked(
    office: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authserver.web.console.overview.is_page", lambda _: False)
    assert "Open: " not in content(office.get("overview"))


def test_it_counts_what_there_is(world: World, office: Visitor) -> None:
    world.user("alice")
    world.robot("ci")
    world.group("team")
    text = content(office.get("overview"))
    rules = len(world.wiring.state.current.snapshot.rules)
    assert f"Users 2 Robots 1 Groups 1 Rules {rules} Registries 1" in text


def test_every_level_has_its_heading() -> None:
    assert [level for level, _, _ in LEVELS] == [*reversed(Level)]


def test_who_reaches_it_readable_from_elsewhere_is_told(
    served: Callable[..., World],
) -> None:
    world = served()
    visitor = Visitor(world)
    visitor.log_in()
    assert READABLE not in content(visitor.get("overview"))
    elsewhere = visitor.client.get("/console/overview", environ_overrides=ELSEWHERE)
    assert READABLE in content(elsewhere)
    assert "AUTHSERVER_PUBLIC_URL" in content(elsewhere)
    by_tls = {**ELSEWHERE, "wsgi.url_scheme": "https"}
    assert READABLE not in content(
        visitor.client.get("/console/overview", environ_overrides=by_tls)
    )


def test_who_has_no_second_factor_is_told(served: Callable[..., World]) -> None:
    world = served()
    visitor = Visitor(world)
    visitor.log_in()
    told = "Your password alone opens the administration"
    assert told in content(visitor.get("overview"))
    enrol(visitor)
    assert told not in content(visitor.get("overview"))

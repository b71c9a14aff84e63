"""What the API takes away only if it was confirmed."""

from typing import Any

import pytest

from tests.web.test_api import ALICE, call, got
from tests.world import ADMIN, SERVICE, World

ANYHOW = {"If-Match": "*"}


@pytest.fixture
def busy(world: World) -> World:
    """alice has a rule, a group, an app token and a login; ci has nothing."""
    world.user("alice")
    world.robot("ci")
    world.group("dev", "alice")
    world.allow("user:alice", "a", "pull")
    world.allow("group:dev", "b", "pull")
    world.app_token("alice", name="laptop")
    world.log_in("alice")
    return world


TAKING: list[tuple[str, str, dict[str, Any] | None, set[str]]] = [
    ("DELETE", "/users/alice", None, {"rule", "app token", "login"}),
    ("DELETE", "/groups/dev", None, {"rule", "member"}),
    ("DELETE", f"/registries/{SERVICE}", None, {"login"}),
    ("PATCH", f"/registries/{SERVICE}", {"refresh_tokens": False}, {"login"}),
    ("PUT", f"/registries/{SERVICE}", {"refresh_tokens": False}, {"login"}),
    ("PATCH", f"/registries/{SERVICE}", {"app_tokens_only": True}, {"login"}),
    ("POST", "/sessions/revoke", {"account": "alice"}, {"login"}),
]


# Sessions are never forced.
CONFIRMED = [
    (*taking, word)
    for taking in TAKING
    for word in ("confirm", "force")
    if (taking[1], word) != ("/sessions/revoke", "force")
]


@pytest.mark.parametrize(("method", "path", "body", "kinds", "word"), CONFIRMED)
def test_what_goes_is_told_and_goes_only_if_confirmed(
    busy: World, method: str, path: str, body: Any, kinds: set[str], word: str
) -> None:
    more: dict[str, Any] = {"json": body} if body else {}
    headers = {} if method == "POST" else ANYHOW
    before = got(busy, "/audit?limit=500")["items"]
    for answer in ("", f"?{word}=false"):
        refused = call(busy, method, path + answer, status=409, headers=headers, **more).json
        assert refused is not None
        assert {loss["what"] for loss in refused["goes"]} == kinds
        assert all(loss["count"] == len(loss["first"]) == 1 for loss in refused["goes"])
        assert "confirm=true" in refused["detail"]
    assert got(busy, "/audit?limit=500")["items"] == before
    call(busy, method, f"{path}?{word}=true", status=200, headers=headers, **more)


def test_what_takes_nothing_along_needs_no_confirmation(busy: World) -> None:
    call(busy, "DELETE", "/robots/ci", status=200, headers=ANYHOW)
    ended = call(busy, "POST", "/sessions/revoke", status=200, json={"account": ADMIN}).json
    assert ended == {"ended": 0}
    off = {"refresh_tokens": False}
    call(busy, "PUT", "/registries/new", status=201, json=off)


def test_who_ends_all_own_logins_confirms_nothing(busy: World) -> None:
    ended = call(busy, "POST", "/me/sessions/revoke", ALICE, 200, json={}).json
    assert ended == {"ended": 1}


def test_a_registry_that_trusts_no_other_authority_needs_a_word(busy: World) -> None:
    call(busy, "POST", "/authorities", status=201, json={})
    call(busy, "POST", "/authorities/2/confirm", status=200, json={"registry": SERVICE})
    refused = call(busy, "POST", "/authorities/2/retire", status=409, json={}).json
    assert refused is not None
    assert refused["goes"] == [{"what": "confirmation", "count": 1, "first": [SERVICE]}]
    call(busy, "POST", "/authorities/2/retire?confirm=true", status=200, json={})


def test_not_even_confirmed_is_the_only_registry_in_use_removed(busy: World) -> None:
    busy.get(f"service={SERVICE}")
    busy.wiring.maintenance.tick()
    path = f"/registries/{SERVICE}"
    refused = call(busy, "DELETE", f"{path}?confirm=true", status=409, headers=ANYHOW)
    assert "only registry that was asked" in refused.text
    call(busy, "DELETE", f"{path}?force=true", status=200, headers=ANYHOW)


def test_not_even_by_force_is_the_last_administrator_removed(busy: World) -> None:
    path = f"/users/{ADMIN}?force=true&confirm=true"
    assert "last administrator" in call(busy, "DELETE", path, status=409, headers=ANYHOW).text

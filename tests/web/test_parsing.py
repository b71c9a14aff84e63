"""What a request says is read before it holds the store, and costs as much as it is long."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from authserver.db import delegations
from tests.growth import LINEAR, doubling
from tests.parsers import watched
from tests.web.lasting import lasting
from tests.web.test_api import AS_ADMIN, call, tag
from tests.world import ADMIN, PASSWORD, SERVICE, World, basic

DEE = ("dee", PASSWORD)
FORM = "application/x-www-form-urlencoded"
STACKED = "\u0327\u0301"

Shape = Callable[[int], Any]
RULE = {
    "effect": "allow",
    "subjects": ["user:dee"],
    "patterns": ["team/a*", "team/b/**"],
    "actions": ["pull"],
    "registry": SERVICE,
    "networks": ["10.0.0.0/8"],
    "valid_until": "2999-01-01T00:00:00Z",
}
DELEGATION = {"group": "team", "registry": SERVICE, "pattern": "team/x/**", "actions": ["pull"]}
TOKEN = {"name": "new", "scopes": ["repository:team/*:pull"], "networks": ["10.0.0.0/8"]}


def with_delegate(world: World) -> World:
    """Let dee write rules within team/**."""
    world.user("dee")
    world.group("team", "dee")
    with world.wiring.store.change("test") as change:
        delegations.add(change, "team", SERVICE, delegations.extent("team/**", "all"))
    world.wiring.state.refresh()
    return world


@pytest.fixture
def office(world: World) -> World:
    return with_delegate(world)


@pytest.fixture(scope="module")
def standing(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with lasting(template, tmp_path_factory) as world:
        yield with_delegate(world)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/rules", RULE),
        ("PUT", "/rules/{id}", RULE | {"patterns": ["team/c/*"]}),
        ("PATCH", "/rules/{id}", {"networks": ["10.1.0.0/16"]}),
        ("POST", "/delegations", DELEGATION),
        ("POST", "/me/tokens", TOKEN),
        ("POST", "/tokens", TOKEN | {"account": "dee"}),
    ],
)
@pytest.mark.parametrize("auth", [AS_ADMIN, DEE], ids=["administrator", "delegate"])
def test_nothing_is_parsed_in_a_change(
    office: World,
    monkeypatch: pytest.MonkeyPatch,
    auth: tuple[str, str],
    method: str,
    path: str,
    body: dict[str, Any],
) -> None:
    written = call(office, "POST", "/rules", auth, 201, json=RULE | {"patterns": ["team/z"]})
    path = path.replace("{id}", str(written.json["id"]))  # type: ignore[index]
    headers = tag(office, path) if method != "POST" else {}
    with watched(monkeypatch) as called:
        answer = call(office, method, path, auth, json=body, headers=headers)
    if answer.status_code != 403:
        assert answer.status_code in (200, 201), answer.text
        assert set(called) == {"outside"}


def many(part: str, before: str = "", after: str = "") -> Shape:
    return lambda n: before + part * (n // len(part)) + after


def rule(**said: Shape) -> Shape:
    """Return bodies of a rule of which some parts are hostile."""
    return lambda n: json.dumps(RULE | {name: shape(n) for name, shape in said.items()})


def written(make: Shape) -> Shape:
    return lambda n: json.dumps(make(n))


# URLs whose worst part has so many characters, and twice as many.
QUERIES = {
    "a scope of slashes": (4000, many("/", "/token?service=registry&scope=repository:", ":pull")),
    "a deep scope": (4000, many("a/", "/token?service=registry&scope=repository:", "a:pull")),
    "scopes": (4000, many("repository:a:pull+", "/token?service=registry&scope=")),
    "no UTF-8": (24000, many("%ff&", "/token?")),
    "slashes": (24000, many("/", "/")),
    "slashes in the API": (24000, many("/", "/api/v1/registries/x")),
    "a registry's name": (24000, many("a/", "/api/v1/registries/")),
    "a user's name": (24000, many(quote(STACKED), "/api/v1/users/a")),
    "an id": (24000, many("9", "/api/v1/rules/")),
    "an account": (24000, many(quote(STACKED), "/api/v1/audit?account=a")),
    "an account's tokens": (24000, many(quote(STACKED), "/api/v1/tokens?account=a")),
    "a subject": (24000, many(quote(STACKED), "/api/v1/rules?subject=user:a")),
    "a time": (24000, many("0", "/api/v1/audit?since=2026-01-01T00:00:00.")),
    "a cursor": (24000, many("W1", "/api/v1/users?cursor=")),
    "a number": (24000, many("9", "/api/v1/users?limit=")),
    "a repository": (
        24000,
        many("a-", "/api/v1/who-can?action=pull&registry=registry&repository=", "!"),
    ),
    "parameters": (24000, many("a=b&", "/api/v1/audit?")),
}
BODIES = {
    "patterns": ("rules", rule(patterns=lambda n: [f"team/{'a*' * 80}"] * (n // 160))),
    "a pattern": ("rules", rule(patterns=lambda n: ["a*" * (n // 2)])),
    "subjects": ("rules", rule(subjects=lambda n: ["user:dee"] * (n // 8))),
    "a subject": ("rules", rule(subjects=many(STACKED, "user:a"))),
    "networks": ("rules", rule(networks=lambda n: ["10.0.0.0/8"] * (n // 10))),
    "a network": ("rules", rule(networks=lambda n: ["1." * (n // 2)])),
    "a time": ("rules", rule(valid_until=many("0", "2026-01-01T00:00:00."))),
    "a comment": ("rules", rule(comment=many("\0"))),
    "brackets": ("rules", many("[")),
    "digits": ("rules", many("9")),
    "names": ("rules", written(lambda n: {f"a{number}": 0 for number in range(n // 10)})),
    "a delegation": ("delegations", written(lambda n: DELEGATION | {"pattern": "*a" * (n // 2)})),
    "ceilings": (
        "me/tokens",
        written(lambda n: TOKEN | {"scopes": ["repository:" + "a*" * 190] * (n // 400)}),
    ),
    "members": (
        "groups/team/members",
        written(lambda n: {"remove": [f"user:{STACKED * 60}{x}" for x in range(n // 130)]}),
    ),
    "an account to invite": ("invitations", written(lambda n: {"user": STACKED * n})),
    "scopes to explain": (
        "explain",
        written(
            lambda n: {
                "account": ADMIN,
                "registry": SERVICE,
                "scopes": ["repository:" + "/" * n + ":pull"],
            }
        ),
    ),
    "a policy": (
        "policy/plan",
        written(lambda n: {"accounts": {f"a{x}": {"kind": "user"} for x in range(n // 10)}}),
    ),
}
HEADERS = {
    "Authorization": many("Basic "),
    "Content-Type": many('a="b";', f"{FORM};"),
    "If-Match": many('"a",'),
    "User-Agent": many("\xff"),
    "X-Forwarded-For": many("10.0.0.1,"),
}


@pytest.mark.parametrize(("n", "shape"), QUERIES.values(), ids=QUERIES)
def test_a_request_costs_as_much_as_its_path_and_query_are_long(
    standing: World, n: int, shape: Shape
) -> None:
    numbers = count()

    def ask(url: str) -> None:
        if url.startswith("/token?"):
            # An answer that is remembered costs nothing.
            url += f"&scope={next(numbers)}"
        headers = {"Authorization": basic(*AS_ADMIN)} if "/api" in url else {}
        standing.client.get(url, headers=headers)

    ratio = doubling(ask, shape(n), shape(2 * n))
    assert ratio <= LINEAR


@pytest.mark.parametrize(("path", "shape"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("auth", [AS_ADMIN, DEE], ids=["administrator", "delegate"])
def test_a_request_costs_as_much_as_its_body_is_long(
    standing: World, auth: tuple[str, str], path: str, shape: Shape
) -> None:
    headers = {"Authorization": basic(*auth), "Content-Type": "application/json"}

    def ask(body: str) -> None:
        answer = standing.client.post(f"/api/v1/{path}", data=body, headers=headers)
        assert answer.status_code < 500

    ratio = doubling(ask, shape(24000), shape(48000))
    assert ratio <= LINEAR


@pytest.mark.parametrize(("name", "shape"), HEADERS.items(), ids=HEADERS)
@pytest.mark.parametrize("path", ["/token", "/api/v1/groups/team"])
def test_a_request_costs_as_much_as_its_headers_are_long(
    standing: World, path: str, name: str, shape: Shape
) -> None:
    usual = {"Authorization": basic(*AS_ADMIN), "Content-Type": FORM}

    def ask(value: str) -> None:
        standing.client.post(path, data="service=x", headers=usual | {name: value})

    ratio = doubling(ask, shape(12000), shape(24000))
    assert ratio <= LINEAR

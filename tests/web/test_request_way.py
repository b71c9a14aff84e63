"""A token request's way through authserver/: the page that shows it, and how short it is."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import authserver
from authserver.web.server.gateway import Gateway
from authserver.web.server.worker import gateway_over
from tests.web.exchanges import Exchange, Incoming, Pair, Scope
from tests.world import PASSWORD, SERVICE, World, basic

PAGE = Path(__file__).parents[2] / "docs" / "development.md"
PACKAGE = f"{Path(authserver.__file__).parent}/"

PUBLIC, TEAM = "repository:public/app:pull", "repository:team/app:pull"

ANONYMOUS = "anonymous"
APP_TOKEN = "an app token"
PASSWORD_COLD = "a password that bcrypt checks"
MOST_FILES = {ANONYMOUS: 10, APP_TOKEN: 12, PASSWORD_COLD: 22}
MOST_RETURNS = {ANONYMOUS: 10, APP_TOKEN: 10}


@dataclass
class Way:
    """The files of authserver/ whose functions were called, in the order of the calls."""

    calls: list[str] = field(default_factory=list)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call; for :func:`sys.setprofile`."""
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PACKAGE):
            self.calls.append(name.removeprefix(PACKAGE))

    @property
    def files(self) -> list[str]:
        return list(dict.fromkeys(self.calls))

    @property
    def returns(self) -> int:
        """How many times a call went to a file that had been left."""
        entries = 1 + sum(before != after for before, after in pairwise(self.calls))
        return entries - len(self.files)


class Inline:
    """In the place of the gateway's threads: what may wait is done in this one."""

    def submit(self, work: Callable[..., object], *arguments: object) -> None:
        work(*arguments)


@pytest.fixture
def ways(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, Way]:
    """The way of each request, of which an equal one was answered before."""
    world.user("alice")
    world.allow("user:alice", "team/**", "pull")
    world.allow("anonymous", "public/*", "pull")
    _, app_token = world.app_token("alice")
    gateway = gateway_over(world.wiring)
    monkeypatch.setattr(gateway, "_threads", Inline())
    token = ("authorization", basic("alice", app_token))
    password = ("authorization", basic("alice", PASSWORD))
    ways = {
        ANONYMOUS: way(gateway, PUBLIC),
        APP_TOKEN: way(gateway, TEAM, token),
    }
    world.wiring.issuer.backends.passwords.remember = 0
    return ways | {PASSWORD_COLD: way(gateway, TEAM, password)}


def way(gateway: Gateway, scope: str, *headers: Pair) -> Way:
    """Send a request twice; return the second one's way."""
    ask(gateway, scope, *headers)
    taken = Way()
    sys.setprofile(taken)
    try:
        exchange = ask(gateway, scope, *headers)
    finally:
        sys.setprofile(None)
    assert exchange.status == 200
    return taken


def ask(gateway: Gateway, scope: str, *headers: Pair) -> Exchange:
    exchange = Exchange()
    query = f"service={SERVICE}&scope={scope}"
    gateway(Incoming(Scope(query_string=query, headers=headers), exchange))
    return exchange


def section() -> str:
    """Return the page's section about the way."""
    _, _, rest = PAGE.read_text().partition("## A token request's way\n")
    return rest.partition("\n## ")[0]


def test_a_token_request_passes_few_files_and_goes_back_to_few(ways: dict[str, Way]) -> None:
    for request, most in MOST_FILES.items():
        assert len(ways[request].files) <= most, ways[request].files
    for request, most in MOST_RETURNS.items():
        assert ways[request].returns <= most, ways[request].calls


def test_the_page_shows_the_figures(ways: dict[str, Way]) -> None:
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| (\d+) \|$", section(), re.MULTILINE)
    assert rows == [
        (request, str(len(taken.files)), str(taken.returns)) for request, taken in ways.items()
    ]


def test_the_page_shows_the_way_file_by_file(ways: dict[str, Way]) -> None:
    steps = re.findall(r"^\d+\. `([^`]+)`", section(), re.MULTILINE)
    assert steps == ways[APP_TOKEN].files
    named = set(re.findall(r"`(\w+/[\w/]+\.py)`", section()))
    assert named >= {file for taken in ways.values() for file in taken.files}
    assert [file for file in named if not Path(PACKAGE, file).is_file()] == []

"""An installation that is served, and a browser for its pages: one of each for a file of tests."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import Pages, chromium_started
from tests.programs import Authserver, free_port


@dataclass(frozen=True)
class Installed:
    """An installation as `make run` makes it, at ``base``; ``admin`` is a name and a password."""

    authserver: Authserver
    base: str
    admin: tuple[str, str]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium_started(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@contextmanager
def fresh_installation(place: Path) -> Iterator[Installed]:
    """Set up an installation below ``place`` and serve it."""
    port = free_port()
    authserver = Authserver(place / "data", {"AUTHSERVER_PORT": str(port)})
    printed = authserver.run("init", "--print-password")
    admin = re.search(r"(?s) user +(\S+)\n.* password +(\S+)\n", printed.stdout + printed.stderr)
    assert admin, printed.stdout
    with authserver.serving(port):
        yield Installed(authserver, f"http://localhost:{port}", (admin[1], admin[2]))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Installed]:
    with fresh_installation(tmp_path_factory.mktemp("installed")) as made:
        yield made


@pytest.fixture
def pages(chromium: Browser, installed: Installed) -> Iterator[Pages]:
    opened = Pages(chromium, installed.base)
    yield opened
    opened.close()
    assert opened.faults == []

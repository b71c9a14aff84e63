"""How every page of the console looks in a real browser, where names are long and odd."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from tests import stores
from tests.browser.chromium import (
    DESKTOP,
    NARROW,
    PHONE,
    WIDE,
    Pages,
    Scheme,
    Size,
    axe,
    looks_right,
    stays_in_width,
)
from tests.browser.conftest import Installed
from tests.browser.test_console_attacks import log_in
from tests.programs import Authserver, free_port
from tests.web.crawler import Crawler
from tests.web.hostile_world import seed
from tests.web.lasting import lasting
from tests.web.visitor import Visitor
from tests.world import ADMIN, PASSWORD, World

pytestmark = pytest.mark.e2e

LONG = "no.place.to.break.at." * 12
THEMES: tuple[tuple[Size, Scheme], ...] = ((DESKTOP, "light"), (PHONE, "dark"))
EVERYWHERE = ("/console/users", "/console/my/tokens/new", "/console/registries/show")
"""Pages that are looked at in each size and theme."""


@pytest.fixture(scope="module")
def odd(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of an installation with long and odd names."""
    data_dir = stores.copied(template, tmp_path_factory.mktemp("odd") / "data")
    world = World.over(stores.settings(data_dir))
    seed(world)
    world.registry("r" * 255)
    world.allow("user:" + "W" * 128, f"{'a' * 200}/**", "pull", comment=LONG)
    world.app_token(ADMIN, f"repository:{'a' * 200}:pull", name="t" * 128)
    world.close()
    return data_dir


@pytest.fixture(scope="module")
def paths(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """One address of each page that an administrator is offered: the longest."""
    with lasting(odd, tmp_path_factory) as world:
        crawler = Crawler(Visitor(world), ADMIN)
        crawler.walk()
    longest = {page: path for path, page in sorted(crawler.offered.items(), key=_length)}
    return sorted(path for path in longest.values() if urlsplit(path).path not in DOWNLOADS)


DOWNLOADS = {"/console/policy/export"}


def _length(offered: tuple[str, str]) -> int:
    return -1 if "format=" in offered[0] else len(offered[0])


@pytest.fixture(scope="module")
def installed(odd: Path, chromium: Browser) -> Iterator[Installed]:
    port = free_port()
    authserver = Authserver(odd, {"AUTHSERVER_PORT": str(port)})
    with authserver.serving(port):
        yield Installed(authserver, f"http://localhost:{port}", (ADMIN, PASSWORD))


def test_every_page_looks_right(pages: Pages, installed: Installed, paths: list[str]) -> None:
    page, wrong = pages.open("/console/login"), []
    log_in(page, installed)
    assert len(paths) > 40
    for path in paths:
        page.goto(path)
        try:
            if urlsplit(path).path in EVERYWHERE:
                looks_right(page)
                continue
            for size in (NARROW, WIDE):
                page.set_viewport_size({"width": size.width, "height": size.height})
                stays_in_width(page)
            for size, scheme in THEMES:
                page.set_viewport_size({"width": size.width, "height": size.height})
                page.emulate_media(color_scheme=scheme)
                axe(page)
        except AssertionError as error:
            wrong.append(str(error)[:1500])
    assert wrong == [], "\n".join(wrong)

"""What a hostile page, link or cookie achieves against somebody who is logged in to the console."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import Pages
from tests.browser.conftest import Installed
from tests.browser.test_registry_page import serving_files

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Hostile:
    """A site of an attacker's, under two names."""

    place: Path
    port: int

    @property
    def same_site(self) -> str:
        """Another port of the console's host: `SameSite` lets its forms have the cookie."""
        return f"http://localhost:{self.port}"

    @property
    def cross_site(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, html: str) -> str:
        """Serve a page; return its path."""
        (self.place / "page.html").write_text(f"<!doctype html><title>hostile</title>{html}")
        return "/page.html"


@contextmanager
def hostile_site(place: Path) -> Iterator[Hostile]:
    with serving_files(place) as port:
        yield Hostile(place, port)


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Hostile]:
    with hostile_site(tmp_path) as site:
        yield site


@pytest.fixture
def office(pages: Pages, installed: Installed) -> Page:
    """The page of an administrator who is logged in."""
    page = pages.open("/console/login")
    log_in(page, installed)
    return page


def log_in(page: Page, installed: Installed) -> None:
    page.get_by_label("Name").fill(installed.admin[0])
    page.get_by_label("Password").fill(installed.admin[1])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def is_in(page: Page) -> bool:
    page.goto("/console/me")
    return page.get_by_role("button", name="Log out").is_visible()


@pytest.mark.parametrize("site", ["same_site", "cross_site"])
@pytest.mark.parametrize("form", ["logout", "users/new", "users/remove?name=admin"])
def test_csrf_from_another_origin_does_nothing(
    pages: Pages, installed: Installed, office: Page, hostile: Hostile, site: str, form: str
) -> None:
    fields = '<input name="name" value="mallory"><input name="admin" value="on">'
    target = f"{installed.base}/console/{form}"
    path = hostile.page(
        f'<form method="post" action="{target}">{fields}<button>win</button></form>'
    )
    office.goto(f"{getattr(hostile, site)}{path}")
    with office.expect_navigation(url=lambda url: url.startswith(installed.base)) as answer:
        office.get_by_role("button").click()
    assert answer.value.status in {303, 403}
    pages.faults.clear()
    assert is_in(office)
    assert "mallory" not in installed.authserver.run("user", "list", "--json").stdout


@pytest.mark.parametrize("site", ["same_site", "cross_site"])
def test_clickjacking_a_frame_stays_empty(
    pages: Pages, installed: Installed, office: Page, hostile: Hostile, site: str
) -> None:
    path = hostile.page(f'<iframe src="{installed.base}/console/users"></iframe>')
    office.goto(f"{getattr(hostile, site)}{path}")
    office.wait_for_timeout(200)
    (frame,) = office.main_frame.child_frames
    assert installed.admin[0] not in frame.content()
    assert any("frame" in fault.lower() for fault in pages.faults), pages.faults
    pages.faults.clear()


@pytest.mark.parametrize("site", ["same_site", "cross_site"])
def test_another_origin_reads_no_page(
    pages: Pages, installed: Installed, office: Page, hostile: Hostile, site: str
) -> None:
    office.goto(f"{getattr(hostile, site)}{hostile.page('')}")
    read = (
        "url => fetch(url, {credentials: 'include'}).then(answer => answer.text(), () => 'refused')"
    )
    assert office.evaluate(read, f"{installed.base}/console/users") == "refused"
    pages.faults.clear()


@pytest.mark.parametrize(
    "target",
    [
        "{evil}",
        "//{host}/",
        "/\\{host}/",
        "/console/\t//{host}",
        "\\\\{host}",
        "javascript:1//{host}",
    ],
)
def test_open_redirect_a_login_leads_to_the_console(
    pages: Pages, installed: Installed, hostile: Hostile, target: str
) -> None:
    evil = f"{hostile.cross_site}{hostile.page('')}"
    target = target.format(evil=evil, host=urlsplit(evil).netloc)
    page = pages.open(f"/console/login?next={quote(target)}")
    log_in(page, installed)
    assert page.url.startswith(f"{installed.base}/console/")


def test_session_fixation_a_planted_cookie_does_not_become_the_session(
    pages: Pages, installed: Installed, office: Page
) -> None:
    """Cookies know no ports: another service of the host may plant one before the login."""
    (of_the_attacker,) = office.context.cookies()
    victim = pages.open("/console/login", state=office.context.storage_state())
    if victim.get_by_role("button", name="Log out").is_visible():
        victim.get_by_role("button", name="Log out").click()
    log_in(victim, installed)
    (after,) = victim.context.cookies()
    assert after["value"] != of_the_attacker["value"]
    assert not is_in(office)


def test_a_stolen_cookie_of_before_the_login_is_no_session(
    pages: Pages, installed: Installed
) -> None:
    page = pages.open("/console/login")
    before = page.context.storage_state()
    log_in(page, installed)
    assert not is_in(pages.open(state=before))


def test_scripts_cannot_read_the_cookie(office: Page) -> None:
    assert office.evaluate("document.cookie") == ""


def test_cached_secrets_after_the_logout_going_back_shows_nothing(
    pages: Pages, installed: Installed, office: Page
) -> None:
    office.goto("/console/users/show?name=" + installed.admin[0])
    office.get_by_role("button", name="Log out").click()
    expect(office.get_by_label("Password")).to_be_visible()
    office.go_back()
    expect(office.get_by_label("Password")).to_be_visible()
    assert not office.get_by_role("button", name="Log out").is_visible()

"""The console behind the shipped nginx, with TLS."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Response, expect

from tests.browser.chromium import Pages
from tests.e2e.lab import ADMIN, installation
from tests.e2e.nginx import NGINX, certificate, configured, site
from tests.programs import free_port, require, running

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[str]:
    require("nginx", "openssl")
    place = tmp_path_factory.mktemp("front")
    place.chmod(0o755)
    port, inside, nobody = free_port(), free_port(), free_port()
    cert, key = certificate(place)
    base = f"https://localhost:{port}"
    server = installation(place / "data", inside)
    server.env |= {"AUTHSERVER_PUBLIC_URL": base, "AUTHSERVER_TRUSTED_PROXIES": f"{NGINX}/32"}
    nginx = configured(place, site(port, f"127.0.0.1:{nobody}", inside, cert, key))
    with (
        server.serving(inside),
        running(nginx, f"{base}/nothing", place / "nginx.log", certificate=cert),
    ):
        yield base


@pytest.fixture
def pages(chromium: Browser, base: str) -> Iterator[Pages]:
    opened = Pages(chromium, base)
    yield opened
    opened.close()
    assert opened.faults == []


def test_a_person_logs_in_and_out(pages: Pages) -> None:
    page = pages.open("/console/")
    page.get_by_label("Name").fill(ADMIN[0])
    page.get_by_label("Password").fill(ADMIN[1])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (
        "__Host-authserver",
        True,
        True,
        "Lax",
    )
    assert page.goto("/console/users")
    expect(page.get_by_role("table")).to_contain_text(ADMIN[0])
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    assert page.context.cookies() == []


def test_nothing_between_keeps_a_page_and_browsers_keep_the_files(pages: Pages) -> None:
    page = pages.open()
    kept: dict[str, str] = {}

    def note(answer: Response) -> None:
        kept[answer.url] = answer.headers["cache-control"]

    page.on("response", note)
    page.goto("/console/login")
    assert kept.pop(page.url) == "no-store"
    assert kept
    assert set(kept.values()) == {"public, max-age=31536000, immutable"}

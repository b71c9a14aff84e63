"""Chromium without a window, the pages that a test opens in it, and what is wrong with a page."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    StorageState,
    sync_playwright,
)

from tests.programs import clean_environ, require, which

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


class Size(NamedTuple):
    """The width and height of a page, in CSS pixels."""

    width: int
    height: int


DESKTOP, PHONE = Size(1280, 800), Size(390, 844)
NARROW, WIDE = Size(360, 740), Size(1600, 1000)
ZOOMED = Size(640, 400)
"""DESKTOP at 200 %: what zooming leaves of the page's room."""

_OPTIONS = ["--disable-gpu", "--disable-quic"]
# Each status of 400 and more is written to the console too; `Pages` judges it by the response.
_ANSWERED = "Failed to load resource: the server responded with a status of"
_MOST_TABS = 200
_LOOKS = """element => {
  const {outline, boxShadow, border, background, textDecoration} = getComputedStyle(element);
  return [outline, boxShadow, border, background, textDecoration].join();
}"""


@contextmanager
def chromium_started(place: Path) -> Iterator[Browser]:
    """Run a Chromium that keeps its files below ``place``. Playwright downloads no browser."""
    require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=which("chromium"),
            args=_OPTIONS,
            env={**clean_environ(HOME=str(place)), "PATH": os.environ["PATH"]},
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Pages:
    """Opens pages of one site, and collects what goes wrong in them.

    A fault is an error of a script, an error in the console (a violation of the page's policy is
    one), a file of the page that does not load, an answer of 500 and more, and a request to
    another origin. The fixture ``pages`` fails when there is one: a test that expects some empties
    ``faults``.
    """

    browser: Browser
    base: str
    faults: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    def open(
        self,
        path: str | None = None,
        *,
        javascript: bool = True,
        size: Size = DESKTOP,
        scheme: Scheme = "light",
        locale: str = "en-US",
        login: tuple[str, str] | None = None,
        state: StorageState | None = None,
    ) -> Page:
        """Return a page of a new person: no cookies but those of ``state``,
        another page's ``context.storage_state()``.

        ``page.context.new_page()`` is another page of the same person; ``page.goto()`` takes paths
        of the site. ``login`` answers the browser's own question for a name and a password.
        """
        context = self.browser.new_context(
            base_url=self.base,
            java_script_enabled=javascript,
            viewport={"width": size.width, "height": size.height},
            color_scheme=scheme,
            locale=locale,
            # A certificate of the test's own.
            ignore_https_errors=self.base.startswith("https:"),
            http_credentials={"username": login[0], "password": login[1]} if login else None,
            storage_state=state,
        )
        context.set_default_timeout(60_000)
        context.on("weberror", lambda error: self.faults.append(f"script: {error.error}"))
        context.on("console", self._spoke)
        context.on("request", self._asked)
        context.on("response", self._answered)
        self._contexts.append(context)
        page = context.new_page()
        if path is not None:
            page.goto(path)
        return page

    def close(self) -> None:
        """Close all pages."""
        while self._contexts:
            self._contexts.pop().close()

    def _spoke(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_ANSWERED):
            self.faults.append(f"console: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.base}/", "data:", "about:", "blob:")):
            self.faults.append(f"another origin: {request.url}")

    def _answered(self, response: Response) -> None:
        document = response.request.resource_type == "document"
        if response.status >= (500 if document else 400):
            self.faults.append(f"{response.status}: {response.url}")


def axe(page: Page) -> None:
    """Fail with the list of what axe finds wrong: names, contrast, order, roles, landmarks."""
    found = [
        f"{violation['id']} ({violation['impact']}): {violation['help']}\n"
        + "\n".join(_node(node) for node in violation["nodes"])
        for violation in Axe().run(page).response["violations"]
    ]
    assert found == [], f"axe on {page.url}:\n" + "\n".join(found)


def _node(node: dict[str, object]) -> str:
    said = str(node["failureSummary"]).replace("\n", "\n      ")
    return f"    {node['html']}\n      {said}"


def stays_in_width(page: Page) -> None:
    """Fail if the page scrolls sideways; say which elements stand out."""
    # Of the document: a wide table may scroll in an element of its own.
    wide, out = page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          const out = [...document.body.querySelectorAll("*")].filter(
            element => element.getBoundingClientRect().right > width + 1);
          return [document.documentElement.scrollWidth - width,
                  out.slice(-5).map(element => element.outerHTML.slice(0, 120))];
        }"""
    )
    assert wide <= 0, f"{page.url} is {wide} px too wide:\n" + "\n".join(out)


def looks_right(page: Page) -> None:
    """Check a page in both themes and at each size: axe, and that it does not scroll sideways."""
    before = page.viewport_size
    for size in (NARROW, ZOOMED, WIDE, PHONE, DESKTOP):
        page.set_viewport_size({"width": size.width, "height": size.height})
        stays_in_width(page)
        for scheme in SCHEMES if size in (PHONE, DESKTOP) else ():
            page.emulate_media(color_scheme=scheme)
            axe(page)
    page.emulate_media(color_scheme="null")
    if before:
        page.set_viewport_size(before)


def tab_to(target: Locator) -> None:
    """Press Tab until ``target`` has the focus; fail if no Tab reaches it, or nobody sees it."""
    page = target.page
    focused = "element => element === document.activeElement"
    before = None if target.evaluate(focused) else target.evaluate(_LOOKS)
    for _ in range(_MOST_TABS):
        if target.evaluate(focused):
            assert target.evaluate(_LOOKS) != before, f"{target} has a focus that nobody sees"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} cannot be reached by Tab")

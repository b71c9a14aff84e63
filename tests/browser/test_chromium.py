"""The checks of pages themselves: each notices what it is for."""

import pytest
from playwright.sync_api import Page

from tests.browser.chromium import DESKTOP, NARROW, Pages, looks_right, tab_to

pytestmark = pytest.mark.e2e

H1, BUTTON = "document.querySelector('h1')", "document.querySelector('button')"
IMAGE = "document.body.append(document.createElement('img'))"
INLINE = "Object.assign(document.createElement('script'), {textContent: '1'})"


@pytest.fixture
def page(pages: Pages) -> Page:
    return pages.open("/password")


@pytest.mark.parametrize(
    ("script", "named"),
    [
        (IMAGE, "image-alt"),
        (f"{H1}.style.color = '#8884'", "color-contrast"),
        (f"{H1}.style.width = '361px'", "too wide"),
    ],
)
def test_looks_that_are_not_right_are_noticed(page: Page, script: str, named: str) -> None:
    page.evaluate(script)
    with pytest.raises(AssertionError, match=named):
        looks_right(page)


def test_colours_of_the_dark_theme_are_looked_at(page: Page) -> None:
    page.evaluate("document.body.style.background = '#eee'")
    with pytest.raises(AssertionError, match="color-contrast"):
        looks_right(page)


@pytest.mark.parametrize("broken", ["tabIndex = -1", "style.outline = '0'"])
def test_what_the_keyboard_cannot_do_is_noticed(page: Page, broken: str) -> None:
    tab_to(page.get_by_role("button"))
    page.reload()
    page.evaluate(f"{BUTTON}.{broken}")
    with pytest.raises(AssertionError):
        tab_to(page.get_by_role("button"))


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("void setTimeout(() => { throw new Error('this one') })", "script: this one"),
        (f"void document.body.append({INLINE})", "Content Security Policy"),
        ("void fetch('/nothing').catch(() => 0)", "Content Security Policy"),
        ("location = 'http://127.0.0.1:1/'", "another origin: http://127.0.0.1:1/"),
    ],
)
def test_what_goes_wrong_in_a_page_is_collected(
    pages: Pages, page: Page, script: str, fault: str
) -> None:
    assert pages.faults == []
    page.evaluate(script)
    page.wait_for_timeout(200)
    assert any(fault in found for found in pages.faults), pages.faults
    pages.faults.clear()


def test_a_person_is_as_the_test_says(pages: Pages) -> None:
    said = "[innerWidth, navigator.language, matchMedia('(prefers-color-scheme: dark)').matches]"
    assert pages.open("/password").evaluate(said) == [DESKTOP.width, "en-US", False]
    page = pages.open("/password", size=NARROW, scheme="dark", locale="zh-CN")
    assert page.evaluate(said) == [NARROW.width, "zh-CN", True]
    # Only a page without scripts shows this from the start.
    assert pages.open("/invitation#code", javascript=False).locator("#ask").is_visible()

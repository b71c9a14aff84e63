"""The two pages for people without a session: by invitation, and to change a password."""

import re
from itertools import count

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import Pages, looks_right, tab_to
from tests.browser.conftest import Installed

pytestmark = pytest.mark.e2e

NEW = "a pony in the harbour"
NAMES = count(1)


def invited(installed: Installed) -> tuple[str, str]:
    """Invite somebody; return the name and the link's path."""
    name = f"user{next(NAMES)}"
    printed = installed.authserver.run("user", "invite", name).stdout
    link = re.search(r"http://\S+(/invitation#\S+)", printed)
    assert link, printed
    return name, link[1]


def choose(page: Page) -> None:
    """Fill in the form of an invitation that is open, and send it."""
    page.get_by_label("New password", exact=True).fill(NEW)
    page.get_by_label("Repeat the new password").fill(NEW)
    page.get_by_role("button", name="Set password").click()


def change(page: Page, name: str, current: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Current password").fill(current)
    page.get_by_label("New password", exact=True).fill(NEW)
    page.get_by_label("Repeat the new password").fill(NEW)
    page.get_by_role("button", name="Change password").click()


def test_each_page_looks_right(pages: Pages, installed: Installed) -> None:
    """As it is first, after a mistake, and when all is done."""
    for path in ("/password", "/invitation", "/invitation#nothing"):
        looks_right(pages.open(path))
    name, link = invited(installed)
    page = pages.open(link)
    looks_right(page)
    choose(page)
    expect(page.get_by_role("status")).to_contain_text(name)
    looks_right(page)
    page.goto("/password")
    change(page, name, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    looks_right(page)
    change(page, name, NEW)
    expect(page.get_by_role("status")).to_contain_text(name)
    looks_right(page)


def test_an_invitation_and_a_password_by_keyboard_only(pages: Pages, installed: Installed) -> None:
    name, link = invited(installed)
    page = pages.open(link)
    expect(page.get_by_label("New password", exact=True)).to_be_focused()
    page.keyboard.type(NEW)
    tab_to(page.get_by_label("Repeat the new password"))
    page.keyboard.type(NEW)
    tab_to(page.get_by_role("button", name="Set password"))
    page.keyboard.press("Space")
    expect(page.get_by_role("status")).to_contain_text(name)
    tab_to(page.get_by_role("link", name="/password"))
    page.keyboard.press("Enter")
    for label, typed in (
        ("Name", name),
        ("Current password", NEW),
        ("New password", NEW + NEW),
        ("Repeat the new password", NEW + NEW),
    ):
        tab_to(page.get_by_label(label, exact=True))
        page.keyboard.type(typed)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Log in again")


def test_an_invitation_and_a_password_without_javascript(
    pages: Pages, installed: Installed
) -> None:
    name, link = invited(installed)
    page = pages.open(link, javascript=False)
    page.get_by_label("Invitation").fill(link.partition("#")[2])
    page.get_by_role("button", name="Go on").click()
    choose(page)
    expect(page.get_by_role("status")).to_contain_text(name)
    page.get_by_role("link", name="/password").click()
    change(page, name, NEW)
    expect(page.get_by_role("status")).to_contain_text(name)
    page.goto("/password")
    change(page, name, "wrong")
    expect(page.get_by_role("alert")).to_contain_text("wrong")


def test_the_code_of_an_invitation_is_in_no_address_and_no_history(
    pages: Pages, installed: Installed
) -> None:
    _, link = invited(installed)
    page = pages.open(link)
    expect(page.get_by_label("New password", exact=True)).to_be_focused()
    assert link.partition("#")[2] not in page.url
    page.go_back()
    assert link.partition("#")[2] not in page.url

"""A person in front of the console: with a mouse, or with the keyboard alone."""

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

from tests.browser.chromium import tab_to


@dataclass(frozen=True)
class Person:
    """Fills in forms and follows links, by the names that pages show."""

    page: Page
    has_mouse: bool = True

    def fill(self, label: str, text: str) -> None:
        field = self.page.get_by_label(label, exact=True)
        if self.has_mouse:
            field.fill(text)
            return
        tab_to(field)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)

    def tick(self, label: str) -> None:
        """Tick a box, or have it ticked no more."""
        self._use(self.page.get_by_label(label, exact=True), "Space")

    def press(self, name: str) -> None:
        """Press a button that leads to another page, or to this one anew."""
        with self.page.expect_navigation():
            self._use(self.page.get_by_role("button", name=name, exact=True), "Enter")

    def follow(self, name: str, within: str = "main") -> None:
        with self.page.expect_navigation():
            links = self.page.locator(within).get_by_role("link", name=name, exact=True)
            # Of two in the navigation, the first is the administrators'.
            self._use(links.first, "Enter")

    def turn_to(self, name: str) -> None:
        """Follow a link of the navigation."""
        self.follow(name, "nav")

    def copied(self, label: str) -> str:
        """Return the text to copy that stands under ``label``."""
        shown = self.page.locator(".copied", has_text=re.compile(rf"^\s*{label}\b"))
        return shown.locator("pre").inner_text()

    def sees(self, *texts: str) -> None:
        """Fail unless the page shows each text."""
        for text in texts:
            expect(self.page.locator("main")).to_contain_text(text)

    def is_in(self, *, wholly: bool = True) -> None:
        """Fail unless the login is complete, or is not: only then pages have the navigation."""
        expect(self.page.locator("nav")).to_be_visible(visible=wholly)

    def _use(self, target: Locator, key: str) -> None:
        if self.has_mouse:
            target.click()
            return
        tab_to(target)
        self.page.keyboard.press(key)


def log_in(person: Person, login: tuple[str, str]) -> None:
    person.fill("Name", login[0])
    person.fill("Password", login[1])
    person.press("Log in")

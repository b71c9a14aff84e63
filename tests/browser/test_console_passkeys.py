"""Passkeys in the console, with Chromium's virtual authenticator in place of a device."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import CDPSession, Page, expect
from sqlalchemy import create_engine, update

from authserver.db import console_sessions
from authserver.db.models import ConsoleSessionRow
from tests.browser.chromium import Pages
from tests.browser.conftest import Installed, fresh_installation
from tests.browser.people import Person, log_in

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Device:
    """What keeps the passkeys of a page, and verifies its owner without asking."""

    session: CDPSession
    authenticator: str

    @classmethod
    def of(cls, page: Page) -> "Device":
        session = page.context.new_cdp_session(page)
        session.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return cls(session, made["authenticatorId"])

    @property
    def passkeys(self) -> int:
        """How many passkeys it keeps."""
        kept = {"authenticatorId": self.authenticator}
        return len(self.session.send("WebAuthn.getCredentials", kept)["credentials"])

    def forget(self) -> None:
        self.session.send("WebAuthn.clearCredentials", {"authenticatorId": self.authenticator})


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    with fresh_installation(tmp_path) as made:
        yield made


@pytest.fixture
def person(pages: Pages) -> Person:
    return Person(pages.open("/console/"))


@pytest.fixture
def device(person: Person) -> Device:
    return Device.of(person.page)


def set_up(person: Person) -> None:
    person.turn_to("Second factor")
    person.follow("Passkey")
    person.press("Make a passkey")
    person.follow("I have kept them")


def make_old(installed: Installed) -> None:
    """Have the proofs of all logins be too old for what needs a fresh one."""
    engine = create_engine(f"sqlite:///{installed.authserver.data_dir}/authserver.db")
    with engine.begin() as connection:
        proved = datetime.now(UTC) - console_sessions.FRESH
        connection.execute(update(ConsoleSessionRow).values(proved_at=proved))
    engine.dispose()


def test_a_passkey_is_made_and_proves_the_next_login(
    person: Person, device: Device, installed: Installed
) -> None:
    log_in(person, installed.admin)
    set_up(person)
    assert device.passkeys == 1
    person.press("Log out")
    log_in(person, installed.admin)
    person.page.goto("/console/users")
    expect(person.page.get_by_role("heading", name="Users")).not_to_be_visible()
    person.press("Use a passkey")
    expect(person.page.get_by_role("heading", name="Users")).to_be_visible()


def test_another_device_or_none_does_not_get_in(
    person: Person, device: Device, installed: Installed
) -> None:
    log_in(person, installed.admin)
    set_up(person)
    person.press("Log out")
    log_in(person, installed.admin)
    device.forget()
    person.page.get_by_role("button", name="Use a passkey").click()
    expect(person.page.locator("form[data-passkey] .wrong")).to_be_visible()
    person.page.goto("/console/users")
    expect(person.page.get_by_role("heading", name="Users")).not_to_be_visible()


def test_a_passkey_is_a_fresh_proof_where_the_login_is_old(
    person: Person, device: Device, installed: Installed
) -> None:
    log_in(person, installed.admin)
    set_up(person)
    make_old(installed)
    person.page.goto(f"/console/users/edit?name={installed.admin[0]}")
    expect(person.page.get_by_label("Administrator")).not_to_be_visible()
    person.press("Use a passkey")
    expect(person.page.get_by_label("Administrator")).to_be_checked()
    assert device.passkeys == 1


def test_a_passkey_is_made_and_used_by_the_keyboard(pages: Pages, installed: Installed) -> None:
    person = Person(pages.open("/console/"), has_mouse=False)
    Device.of(person.page)
    log_in(person, installed.admin)
    set_up(person)
    person.press("Log out")
    log_in(person, installed.admin)
    person.press("Use a passkey")
    person.is_in()

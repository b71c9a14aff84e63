"""From a fresh installation to a push in a real registry, by the console alone.

Once with a mouse, once with the keyboard alone, once without JavaScript.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyotp
import pytest

from tests.browser.chromium import Pages
from tests.browser.conftest import Installed, fresh_installation
from tests.browser.people import Person, log_in
from tests.e2e.clients import Skopeo, ready
from tests.e2e.lab import Registry, serving_registry
from tests.programs import require
from tests.world import wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    with fresh_installation(tmp_path) as made:
        yield made


@pytest.fixture
def registry(installed: Installed, tmp_path: Path) -> Iterator[Registry]:
    require("docker-registry")
    trust = str(tmp_path / "trust")
    section = installed.authserver.run("registry", "config", "registry", "--output-dir", trust)
    with serving_registry(tmp_path, section.stdout) as made:
        yield made


@pytest.fixture(params=["mouse", "keyboard", "no JavaScript"])
def person(request: pytest.FixtureRequest, pages: Pages) -> Person:
    page = pages.open("/console/", javascript=request.param != "no JavaScript")
    return Person(page, has_mouse=request.param != "keyboard")


def test_from_the_first_login_to_a_push(
    person: Person, installed: Installed, registry: Registry, tmp_path: Path
) -> None:
    log_in(person, installed.admin)
    enrol(person, installed.admin)
    make_user(person, "alice")
    make_group(person, "builders", "alice")
    make_rule(person)
    make_robot(person, "ci", "alice")
    join(person, "builders", "ci")
    token = make_token(person, "ci")
    with ready(Skopeo, registry.host, tmp_path / "client") as client:
        done = client.login(("ci", token))
        assert done.returncode == 0, done.stderr
        client.make("team/app")
        done = client.push("team/app")
        assert done.returncode == 0, done.stderr
        client.make("other/app")
        assert client.push("other/app").returncode != 0
    find_push(person, "ci")


def enrol(person: Person, login: tuple[str, str]) -> None:
    """Set up an authenticator app; log in anew, which takes a code of it now."""
    person.turn_to("Second factor")
    person.follow("Authenticator app")
    app = pyotp.TOTP(person.copied("Secret"))
    step = app.timecode(datetime.now(UTC))
    person.fill("Code", app.generate_otp(step))
    person.press("Set it up")
    person.follow("I have kept them")
    person.press("Log out")
    log_in(person, login)
    person.is_in(wholly=False)
    # Each code is good once.
    person.fill("Code", app.generate_otp(step))
    person.press("Go on")
    person.fill("Code", app.generate_otp(step + 1))
    person.press("Go on")
    person.is_in()


def make_user(person: Person, name: str) -> None:
    person.turn_to("Users")
    person.follow("New user")
    person.fill("Name", name)
    person.press("Make the user")
    person.sees("/invitation#")
    person.follow("Go on")
    person.sees("no password")


def make_group(person: Person, name: str, member: str) -> None:
    person.turn_to("Groups")
    person.follow("New group")
    person.fill("Name", name)
    person.fill("Members", member)
    person.press("Make the group")
    person.sees("1 member")


def make_rule(person: Person) -> None:
    person.turn_to("Rules")
    person.follow("New rule")
    person.fill("Subjects", "group:builders")
    person.fill("Patterns", "team/**")
    person.tick("push")
    person.press("Preview")
    person.sees("nothing is saved yet", "alice", "gains", "pull, push", "team/**")
    person.press("Save")
    person.sees("group:builders")


def make_robot(person: Person, name: str, owner: str) -> None:
    person.turn_to("Robots")
    person.follow("New robot")
    person.fill("Name", name)
    person.fill("Owner", owner)
    person.press("Make the robot")
    person.sees(owner)


def join(person: Person, group: str, account: str) -> None:
    person.turn_to("Groups")
    person.follow(group)
    person.fill("Users and robots, with commas between", account)
    person.press("Put in")
    person.sees("2 members")


def make_token(person: Person, account: str) -> str:
    """Make an app token for pull and push in team/; return it."""
    person.turn_to("App tokens")
    person.follow("New app token")
    person.fill("Account", account)
    person.press("Go on")
    person.fill("Name", "build-server")
    person.tick("pull")
    person.tick("push")
    person.press("Make the app token")
    person.sees(f"-u {account}")
    return person.copied("App token")


def find_push(person: Person, account: str) -> None:
    """Find the push in the audit; records are stored a moment after the answer."""
    person.turn_to("Audit")

    rows = person.page.get_by_role("row").filter(has_text="repository:team/app:pull,push")

    def is_there() -> bool:
        person.page.reload()
        return rows.filter(has_text=account).filter(has_text="granted").count() > 0

    assert wait_until(is_there, 5)

"""What a check of a password costs: counted in bcrypt rounds, never timed."""

from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from authserver.auth import passwords
from authserver.core import password_rules
from authserver.db import accounts, snapshot
from authserver.runtime.settings import Settings
from tests.web.answers import refused
from tests.web.faults import unwritable
from tests.web.lasting import lasting
from tests.world import ADMIN, PASSWORD, World

CONFIGURED = 6
# Its password is PASSWORD; the form is the one that htpasswd writes.
IMPORTED = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode().replace("$2b$", "$2y$", 1)


class Work:
    """Adds up the rounds of every bcrypt."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rounds = 0
        check, make = bcrypt.checkpw, bcrypt.hashpw

        def checkpw(password: bytes, hashed: bytes) -> bool:
            self._add(hashed)
            return check(password, hashed)

        def hashpw(password: bytes, salt: bytes) -> bytes:
            self._add(salt)
            return make(password, salt)

        monkeypatch.setattr(bcrypt, "checkpw", checkpw)
        monkeypatch.setattr(bcrypt, "hashpw", hashpw)

    def _add(self, salt: bytes) -> None:
        self.rounds += 2 ** int(salt.split(b"$")[2])

    def taken(self) -> int:
        """Return the rounds since the last look."""
        rounds, self.rounds = self.rounds, 0
        return rounds


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    """Costs as they come to be: the administrator's 4, an imported 5, and the configured 6."""
    made = World.over(settings.model_copy(update={"bcrypt_cost": CONFIGURED}))
    populate(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def standing(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The same, for tests that only fail to log in."""
    with lasting(template, tmp_path_factory, CONFIGURED) as made:
        populate(made)
        yield made


def populate(world: World) -> None:
    with world.wiring.store.change("test") as change:
        for name in ("current", "gone"):
            accounts.add_user(change, name, passwords.hash_password(PASSWORD, CONFIGURED))
        accounts.add_user(change, "gone-cheap", passwords.hash_password(PASSWORD, 4))
        accounts.add_user(change, "imported", IMPORTED)
        accounts.add_user(change, "gone-imported", IMPORTED)
        accounts.add_user(change, "fresh", None)
        for name in ("gone", "gone-cheap", "gone-imported"):
            accounts.set_disabled(change, name, disabled=True)
    world.wiring.state.refresh()


def stored(world: World, name: str) -> str | None:
    with world.wiring.store.read() as session:
        return snapshot.load(session).accounts[name].password_hash


LONG = "x" * 73
FAILURES = {
    "wrong password": ("current", "wrong"),
    "wrong password, cheap hash": (ADMIN, "wrong"),
    "wrong password, imported hash": ("imported", "wrong"),
    "unknown account": ("nobody", PASSWORD),
    "unknown account, as a password": ("correct horse battery", "staple"),
    "empty name": ("", PASSWORD),
    "disabled, right password": ("gone", PASSWORD),
    "disabled, right password, cheap hash": ("gone-cheap", PASSWORD),
    "disabled, right password, imported hash": ("gone-imported", PASSWORD),
    "disabled, wrong password": ("gone", "wrong"),
    "no password yet": ("fresh", PASSWORD),
    "over-long password": ("current", LONG),
    "over-long password, cheap hash": (ADMIN, LONG),
    "over-long password, imported hash": ("imported", LONG),
    "over-long password, unknown account": ("nobody", LONG),
    "very long password": ("current", "x" * 60_000),
}


@pytest.mark.parametrize("auth", FAILURES.values(), ids=FAILURES.keys())
def test_every_failed_check_does_the_same_work(
    standing: World, work: Work, auth: tuple[str, str]
) -> None:
    refused(standing.get(auth=auth))
    assert work.taken() == 2**CONFIGURED
    refused(standing.get(auth=auth))
    assert work.taken() == 2**CONFIGURED, "a failure is never remembered"


@pytest.mark.parametrize("name", [ADMIN, "current", "imported", "gone-imported", "nobody", "fresh"])
def test_a_password_that_is_not_in_nfc_takes_twice_the_work_for_every_account(
    standing: World, work: Work, name: str
) -> None:
    refused(standing.get(auth=(name, "pa\u0308ssword")))
    assert work.taken() == 2 * 2**CONFIGURED


def test_the_work_does_not_depend_on_the_rest_of_the_request(standing: World, work: Work) -> None:
    for query in ("service=unknown", "account=other", "scope=repository:a:*"):
        refused(standing.get(query, auth=(ADMIN, "wrong")))
        assert work.taken() == 2**CONFIGURED


def test_a_stored_hash_of_a_higher_cost_is_not_given_away(world: World, work: Work) -> None:
    world.user("costly", cost=CONFIGURED + 1)
    work.taken()
    for auth in (("costly", "wrong"), (ADMIN, "wrong"), ("nobody", "wrong"), ("gone", PASSWORD)):
        refused(world.get(auth=auth))
        assert work.taken() == 2 ** (CONFIGURED + 1)


@pytest.mark.parametrize(
    "header", ["", "Bearer x", "Basic", "Basic ***", "Basic YWRtaW4=", "Basic YWRtaW46"]
)
def test_what_cannot_be_a_password_costs_nothing(standing: World, work: Work, header: str) -> None:
    refused(standing.get(environ_overrides={"HTTP_AUTHORIZATION": header}))
    assert work.taken() == 0


def test_anonymous_requests_and_requests_that_are_too_large_cost_nothing(
    standing: World, work: Work
) -> None:
    assert standing.get().status_code == 200
    assert standing.get("scope=" + "a" * 13_000, auth=(ADMIN, "wrong")).status_code == 400
    assert work.taken() == 0


def test_a_verified_password_is_remembered_for_a_while(world: World, work: Work) -> None:
    remembered = world.wiring.issuer.backends.passwords
    started = remembered.clock()
    remembered.clock = lambda: started
    for expected in (2**CONFIGURED, 0, 0):
        assert world.get(auth=("current", PASSWORD)).status_code == 200
        assert work.taken() == expected
    remembered.clock = lambda: started + remembered.remember
    assert world.get(auth=("current", PASSWORD)).status_code == 200
    assert work.taken() == 2**CONFIGURED


def test_nothing_is_remembered_where_the_setting_is_0(settings: Settings, work: Work) -> None:
    world = World.over(settings.model_copy(update={"remember_passwords": 0}))
    for _ in range(2):
        assert world.get(auth=(ADMIN, PASSWORD)).status_code == 200
        assert work.taken() == 2**settings.bcrypt_cost
    world.close()


def test_what_is_remembered_lets_no_other_password_and_no_other_account_in(
    world: World, work: Work
) -> None:
    world.user("other", "another")
    assert world.get(auth=("current", PASSWORD)).status_code == 200
    work.taken()
    for auth in (("current", "another"), ("other", PASSWORD), ("current", PASSWORD + " ")):
        refused(world.get(auth=auth))
        assert work.taken() == 2**CONFIGURED


@pytest.mark.parametrize(("name", "cost"), [(ADMIN, 4), ("imported", 5)])
def test_a_cheap_hash_is_made_anew_on_login_and_the_login_stays_good(
    world: World, work: Work, name: str, cost: int
) -> None:
    auth = (name, PASSWORD)
    assert world.get(auth=auth).status_code == 200
    assert work.taken() == 2**cost + 2**CONFIGURED
    world.wiring.maintenance.tick()
    made = stored(world, name)
    assert made is not None
    assert password_rules.cost_of(made) == CONFIGURED

    for _ in range(2):  # before this process has seen the new hash, and after
        assert world.get(auth=auth).status_code == 200
        assert work.taken() == 0
        world.wiring.state.refresh()
    assert stored(world, name) == made
    refused(world.get(auth=(name, "wrong")))


def test_a_current_hash_is_left_alone(world: World) -> None:
    before = stored(world, "current")
    assert world.get(auth=("current", PASSWORD)).status_code == 200
    assert stored(world, "current") == before


def test_a_failed_login_leaves_a_cheap_hash_alone(world: World) -> None:
    refused(world.get(auth=("imported", "wrong")))
    refused(world.get(auth=("gone-imported", PASSWORD)))
    assert stored(world, "imported") == stored(world, "gone-imported") == IMPORTED


def test_a_login_is_good_although_the_store_cannot_take_the_new_hash(world: World) -> None:
    with unwritable(world):
        assert world.get(auth=("imported", PASSWORD)).status_code == 200
        assert stored(world, "imported") == IMPORTED


def test_a_changed_password_ends_the_old_one_at_once(world: World, work: Work) -> None:
    assert world.get(auth=("current", PASSWORD)).status_code == 200
    with world.wiring.store.change("test") as change:
        new = passwords.hash_password("tomorrow", CONFIGURED)
        accounts.set_password(change, "current", new)
    world.wiring.state.refresh()
    work.taken()
    refused(world.get(auth=("current", PASSWORD)))
    assert work.taken() == 2**CONFIGURED
    assert world.get(auth=("current", "tomorrow")).status_code == 200

"""What a hostile review of this server found, so that it stays mended."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from authserver.audit.token_event import MAX_TEXT
from authserver.core.decision import decide
from authserver.core.errors import NotReady
from authserver.core.names import HOSTILE_MAX
from authserver.core.patterns import Pattern
from authserver.core.rules import Effect, Rule
from authserver.core.scope import parse
from authserver.core.subjects import subject
from authserver.db import accounts
from authserver.runtime.settings import Settings
from tests import stores
from tests.world import ADMIN, COST, PASSWORD, World, basic

STACKED = "a" + "\u0301\u0327" * 23_000


@contextmanager
def another_writer(settings: Settings) -> Iterator[None]:
    """Hold the store as a writer does that takes its time."""
    other = stores.opened(settings.data_dir)
    with other.change("another"):
        yield
    other.engine.dispose()


@pytest.fixture
def normalised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all texts that are normalised, which takes time quadratic in them."""
    lengths: list[int] = []

    def normalize(_: str, text: str) -> str:
        lengths.append(len(text))
        return text

    monkeypatch.setattr("authserver.core.names.unicodedata.normalize", normalize)
    return lengths


@pytest.mark.parametrize("auth", [(STACKED, "x"), (ADMIN, STACKED), (ADMIN, PASSWORD)])
def test_long_names_and_passwords_are_cut_before_they_are_normalised(
    world: World, normalised: list[int], auth: tuple[str, str]
) -> None:
    world.get(f"service=registry&account={STACKED[:5000]}", auth=auth)
    assert normalised
    assert max(normalised) <= HOSTILE_MAX


def test_a_name_that_was_cut_is_no_ones(world: World) -> None:
    assert world.get(auth=(ADMIN + "a" * HOSTILE_MAX, PASSWORD)).status_code == 401


@pytest.mark.parametrize(
    "text", [f"{PASSWORD}\0{PASSWORD}", f"{PASSWORD}\0", f"\0{PASSWORD}", "\0"]
)
def test_a_password_with_nul_is_wrong_and_does_the_same_work(
    world: World, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    costs: list[int] = []
    real = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        costs.append(2 ** int(hashed[4:6]))
        return real(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    assert world.get(auth=(ADMIN, text)).status_code == 401
    assert sum(costs) == 2**COST


def test_a_hash_that_bcrypt_refuses_is_as_no_password(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.add_user(change, "weird", "$2y$04$" + "z" * 53)
    world.wiring.state.refresh()
    assert world.get(auth=("weird", "x")).status_code == 401


def test_base64_with_bits_left_over_is_malformed(world: World) -> None:
    world.user("alice", "pw-alice")
    good = basic("alice", "pw-alice")
    assert world.get(headers={"Authorization": good}).status_code == 200
    bent = good[:-2] + chr(ord(good[-2]) + 1) + "="
    assert base64.b64decode(bent[6:]) == b"alice:pw-alice"
    assert world.get(headers={"Authorization": bent}).status_code == 401


def test_a_login_does_not_wait_for_a_writer_to_have_its_hash_made_anew(settings: Settings) -> None:
    raised = World.over(Settings(**settings.model_dump() | {"bcrypt_cost": COST + 1}))
    with another_writer(settings):
        answers: list[int] = []
        login = threading.Thread(
            target=lambda: answers.append(raised.get(auth=(ADMIN, PASSWORD)).status_code)
        )
        login.start()
        login.join(20)
        assert answers == [200]
    raised.close()


@pytest.mark.sqlite
def test_a_writer_that_takes_its_time_makes_no_state_stale(
    world: World, settings: Settings
) -> None:
    world.get(auth=(ADMIN, PASSWORD))
    before = world.wiring.state.current.read_at
    with another_writer(settings):
        with pytest.raises(Exception, match="another writer"):
            world.wiring.maintenance.tick()
        assert world.wiring.state.current.read_at > before


def test_records_that_wait_are_short(world: World) -> None:
    agent = "x" * 100_000
    world.get(f"service={'s' * 5000}&scope={'y' * 11_000}", headers={"User-Agent": agent})
    (event,) = world.wiring.issuer.journal.pending
    assert max(map(len, (event.client, event.service, event.requested, event.reason))) <= MAX_TEXT


def test_what_is_escaped_in_a_record_is_not_longer_for_it(world: World) -> None:
    world.get("scope=" + "%01" * 3000)
    world.wiring.maintenance.tick()
    with world.wiring.store.read() as session:
        (length,) = (
            session.connection().exec_driver_sql("SELECT length(requested) FROM token_record").one()
        )
    assert length <= MAX_TEXT


def test_rules_on_others_are_not_matched_against_names(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Rule(1, Effect.ALLOW, (subject("user:alice"),), (Pattern("**"),), frozenset({"pull"}))
    monkeypatch.setattr(Pattern, "matches", lambda *_: pytest.fail("was matched"))
    decision = decide([rule], None, "registry", parse("repository:a:pull"))
    assert decision.granted == ()


@pytest.mark.sqlite
def test_a_store_that_is_gone_is_not_ready(world: World, settings: Settings) -> None:
    Path(settings.data_dir / "authserver.db").rename(settings.data_dir / "elsewhere.db")
    world.wiring.state.max_staleness = 0
    with pytest.raises(Exception, match="there is no store at"):
        world.wiring.state.refresh()
    assert world.client.get("/readyz").status_code == 503
    assert not (settings.data_dir / "authserver.db").exists()


@pytest.mark.sqlite
def test_a_store_that_is_no_database_is_not_ready(world: World, settings: Settings) -> None:
    world.close()
    for path in settings.data_dir.glob("authserver.db*"):
        path.write_bytes(b"no database" * 1000)
    with pytest.raises(NotReady):
        world.wiring.state.refresh()
    response = world.client.get("/readyz")
    assert response.json is not None
    assert response.json["status"] == "stale"
    assert "damaged" in response.text


def test_options_is_refused_in_json_everywhere(world: World) -> None:
    response = world.client.options("/livez")
    assert response.status_code == 405
    assert response.mimetype == "application/json"

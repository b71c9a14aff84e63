"""Records of token requests."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from structlog.testing import capture_logs

from authserver.audit import chain, journal
from authserver.audit.journal import Journal
from authserver.audit.record_rows import TOKEN_COLUMNS
from authserver.audit.recorder import Trail
from authserver.audit.token_event import MAX_TEXT, TokenEvent
from authserver.audit.verify import Verification
from authserver.auth.usage import USES_EVERY, CredentialKind, CredentialUse, CredentialUses
from authserver.core.errors import NotReady
from authserver.db.models import TokenRecord
from authserver.db.store import Store, open_store
from tests.world import PASSWORD, Clock, World

KEY = b"k" * 32
FROM_CLIENTS = ("account", "client", "service", "requested", "granted", "reason")


def rows(store: Store) -> Sequence[TokenRecord]:
    with store.read() as session:
        return session.scalars(select(TokenRecord).order_by(TokenRecord.id)).all()


def written(store: Store) -> list[str]:
    return [row.request_id for row in rows(store)]


def filled(one: TokenEvent, *request_ids: str) -> Journal:
    made = Journal(KEY)
    for request_id in request_ids:
        made.add(replace(one, request_id=request_id))
    return made


@pytest.fixture
def broken(tmp_path: Path, clock: Clock) -> Store:
    return open_store(f"sqlite:///{tmp_path}/gone/authserver.db", clock)


def test_a_record_holds_what_happened(store: Store, one: TokenEvent) -> None:
    filled(one, "r1").write(store)
    [row] = rows(store)
    for name in TokenEvent.__slots__:
        assert getattr(row, name) == getattr(one, name)


def test_records_wait_until_they_are_written_together(store: Store, one: TokenEvent) -> None:
    commits: list[object] = []
    event.listen(store.engine, "commit", commits.append)
    made = filled(one, "a", "b", "c")
    assert written(store) == []
    made.write(store)
    assert len(commits) == 1
    assert written(store) == ["a", "b", "c"]


def test_many_are_written_some_at_a_time_in_their_order(
    store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_BATCH", 2)
    made = filled(one, *"abcde")
    assert made.write(store)
    assert written(store) == ["a", "b"]
    assert made.write(store)
    assert not made.write(store)
    assert written(store) == list("abcde")


def test_a_record_is_written_once(store: Store, one: TokenEvent) -> None:
    made = filled(one, "a")
    made.write(store)
    made.write(store)
    assert written(store) == ["a"]


def test_with_nothing_to_write_the_store_is_left_alone(broken: Store) -> None:
    Journal(KEY).write(broken)


def test_what_could_not_be_written_is_kept_in_its_order(
    store: Store, broken: Store, one: TokenEvent
) -> None:
    made = filled(one, "a", "b")
    for _ in range(2):
        with pytest.raises(NotReady):
            made.write(broken)
    made.add(replace(one, request_id="c"))
    made.write(store)
    assert written(store) == ["a", "b", "c"]


@pytest.mark.parametrize("jwt_id", [None, "j2", ""])
@pytest.mark.parametrize("moment", [0, 1, 120_000])
@pytest.mark.parametrize("text", ["", "100%s", 'é"\\\n\0\ud800', "%%"])
def test_a_record_says_the_same_whatever_others_shared_with_it(
    one: TokenEvent, jwt_id: str | None, moment: int, text: str
) -> None:
    """Also at the start of a second, which has no microseconds to tell."""
    shared: dict[str, Any] = dict.fromkeys(FROM_CLIENTS, text)
    at = one.at.replace(microsecond=moment)
    event = replace(one, jwt_id=jwt_id, at=at, request_id=text, **shared)
    for other in (one, replace(event, jwt_id="j3"), replace(event, jwt_id=None)):
        journal._record(other)
    values, said = journal._record(event)
    told = dict(zip(TOKEN_COLUMNS, values, strict=True))
    assert said == chain.text(told)
    assert (told["at"], told["jwt_id"], told["request_id"]) == (at, jwt_id, text)


@pytest.mark.parametrize("number", [1, 63, 64, 65, 256, 257, 700])
def test_however_many_are_written_together_each_is_in_its_place(
    store: Store, one: TokenEvent, number: int
) -> None:
    ids = [f"r{n}" for n in range(number)]
    filled(one, *ids).write(store)
    assert written(store) == ids
    with store.read() as session:
        report = Verification(session, Trail.of(store).key(session), None, lambda *_: None).run()
    assert (report.faults, report.verified["token"]) == ([], number)


# Who answers must not outrun who writes.


@pytest.fixture
def many(one: TokenEvent, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal with as many records as make whoever answers wait."""
    monkeypatch.setattr(journal, "MANY_PENDING", 2)
    monkeypatch.setattr(journal, "PAUSE", 60.0)
    return filled(one, "a", "b")


def test_who_answers_waits_until_records_are_taken(many: Journal, store: Store) -> None:
    done: list[str] = []
    waits = threading.Event()
    many.wake = waits.set

    def answer() -> None:
        many.give_way()
        done.append("answered")

    answering = threading.Thread(target=answer)
    answering.start()
    assert waits.wait(30)
    done.append("written")
    many.write(store)
    answering.join(30)
    assert done == ["written", "answered"]


def test_who_answers_does_not_wait_while_few_records_do(many: Journal) -> None:
    many.pending.pop()
    many.wake = pytest.fail
    many.give_way()


def test_a_store_that_hangs_slows_answers_and_stops_none(
    many: Journal, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PAUSE", 0.001)
    monkeypatch.setattr(journal, "MAX_BATCH", 2)
    waits: list[float] = []
    wait = many._taking.wait

    def noted(seconds: float) -> None:
        waits.append(seconds)
        wait(seconds)

    monkeypatch.setattr(many._taking, "wait", noted)
    for _ in range(3):
        many.give_way()
        many.add(one)
        many.add(one)
    assert waits == [0.001, 0.002, 0.004]
    assert len(many.pending) == 8


def full(made: Journal) -> bool:
    return made.full


def test_of_too_many_those_that_issued_nothing_are_lost_and_counted(
    store: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_PENDING", 3)
    made = filled(one, "a", "b")
    assert not full(made)
    made.add(replace(one, request_id="c"))
    assert full(made)
    made.add(replace(one, request_id="refused", jwt_id=None))
    made.add(replace(one, request_id="was on its way"))
    with capture_logs() as logs:
        made.write(store)
        made.write(store)
    assert written(store) == ["a", "b", "c", "was on its way"]
    assert [(line["event"], line["number"]) for line in logs] == [("token records were lost", 1)]
    assert not full(made)


def test_none_of_what_was_pending_is_lost_when_it_is_put_back(
    broken: Store, one: TokenEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_PENDING", 2)
    made = filled(one, "a", "b")
    events = made.take()
    for request_id in ("c", "d"):
        made.add(replace(one, request_id=request_id))
    made.put_back(events)
    with pytest.raises(NotReady):
        made.write(broken)
    assert [event.request_id for event in made.pending] == ["a", "b", "c", "d"]


def test_a_journal_that_is_stuck_is_full_until_the_store_takes_it(
    store: Store, one: TokenEvent
) -> None:
    made = filled(one, "a")
    made.stuck = True
    assert full(made)
    made.write(store)
    assert not full(made)


def test_hostile_text_is_written_safe_and_short(store: Store, one: TokenEvent) -> None:
    hostile = "\x1b[31m\n\u202e\ud800\0" * 5000
    made = Journal(KEY)
    for name in FROM_CLIENTS:
        made.add(replace(one, **{name: hostile}))  # type: ignore[arg-type]
    made.write(store)
    for name, row in zip(FROM_CLIENTS, rows(store), strict=True):
        value, width = getattr(row, name), TokenRecord.__table__.c[name].type
        assert value.isprintable()
        assert len(value) <= (getattr(width, "length", None) or 10 * MAX_TEXT + 1)


def test_an_unknown_name_is_hashed() -> None:
    made = Journal(KEY)
    assert made.hashed("hunter22") == made.hashed("hunter22")
    assert made.hashed("hunter22") != made.hashed("hunter23")
    assert made.hashed("hunter22") != Journal(b"o" * 32).hashed("hunter22")
    assert made.hashed("hunter22").startswith("unknown-")
    assert "hunter22" not in made.hashed("hunter22")


def test_a_password_typed_as_a_name_is_in_no_record(world: World) -> None:
    assert world.get("service=registry", auth=("hunter22", PASSWORD)).status_code == 401
    assert world.get("service=registry", auth=("admin", "hunter22")).status_code == 401
    world.wiring.maintenance.tick()
    unknown, known = rows(world.wiring.store)
    assert unknown.account.startswith("unknown-")
    assert (known.account, known.outcome, known.reason) == ("admin", "refused", "wrong password")
    shown = [getattr(r, c.name) for r in (unknown, known) for c in TokenRecord.__table__.columns]
    assert not any("hunter22" in str(value) for value in shown)


def test_the_key_is_not_shown(one: TokenEvent) -> None:
    assert "kkk" not in repr(filled(one, "a"))


def test_old_records_are_pruned(store: Store, one: TokenEvent, clock: Clock) -> None:
    for days in (31, 30, 29, 0):
        made = Journal(KEY)
        made.add(replace(one, at=clock.at - timedelta(days=days), request_id=str(days)))
        made.write(store)
    assert journal.prune(store, 30) == 1
    assert written(store) == ["30", "29", "0"]
    assert journal.prune(store, 30) == 0


def test_tokens_are_locked_in_one_order_whoever_writes(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, locked = CredentialUses._update, []

    def update(self: CredentialUses, use: CredentialUse) -> Any:
        locked.append((use.kind, use.id))
        return real(self, use)

    monkeypatch.setattr(CredentialUses, "_update", update)
    uses = CredentialUses(timedelta(days=1))
    for kind, number in (
        (CredentialKind.REFRESH, 2),
        (CredentialKind.APP, 3),
        (CredentialKind.REFRESH, 1),
        (CredentialKind.APP, 1),
    ):
        uses.note(CredentialUse(kind, number, 1, clock.at, "192.0.2.1", "docker"))
    uses.write(store)
    assert locked == [
        (CredentialKind.APP, 1),
        (CredentialKind.APP, 3),
        (CredentialKind.REFRESH, 1),
        (CredentialKind.REFRESH, 2),
    ]


def test_tokens_that_are_used_no_more_are_forgotten(store: Store, clock: Clock) -> None:
    uses = CredentialUses(timedelta(days=1))

    def use(number: int) -> bool:
        return uses.note(
            CredentialUse(CredentialKind.APP, number, 1, clock.at, "192.0.2.1", "docker")
        )

    for minute in range(5):
        assert all(use(100 * minute + number) for number in range(100))
        for again in (True, False):
            assert use(-1) == again, "one that is used on is written once a minute"
            clock.move(USES_EVERY / 2)
            uses.write(store)
    assert len(uses._noted) <= 2 * 100 + 1
    clock.move(USES_EVERY)
    uses.write(store)
    assert not uses._noted
    assert not uses._pending

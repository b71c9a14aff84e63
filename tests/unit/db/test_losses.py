"""What goes with a thing that is removed, and what is removed by force only."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from authserver.core.errors import Refused
from authserver.db import accounts, lookup, losses
from authserver.db.losses import Loss
from authserver.db.models import AuditRecord, Base, SecondFactorRow, TokenRecord
from authserver.db.store import Change, Store
from authserver.registry import entries
from tests.world import ADMIN, SERVICE, World


@pytest.fixture
def busy(world: World) -> World:
    """alice has a rule, a rule of her group, an app token, and a login."""
    world.user("alice")
    world.group("dev", "alice")
    world.allow("user:alice", "a", "pull")
    world.allow("group:dev", "b", "pull", service=SERVICE)
    world.app_token("alice", name="laptop")
    world.log_in("alice")
    with world.wiring.store.change("test") as change:
        # Its login began before.
        change.session.add(
            SecondFactorRow(
                account_id=lookup.account(change.session, "alice").id,
                kind="totp",
                name="phone",
                sealed_secret=b"",
                last_step=0,
                sign_count=0,
                transports=[],
                created_at=change.at,
            )
        )
    return world


def lost(world: World, find: Callable[[Any, str], Any], name: str) -> list[str]:
    with world.wiring.store.read() as session:
        return [str(loss) for loss in losses.of(session, [find(session, name)])]


def test_rules_tokens_and_logins_go_with_an_account(busy: World) -> None:
    assert lost(busy, lookup.account, "alice") == [
        "1 rule: 3 (allow user:alice a pull on every registry)",
        "1 app token: 1 (laptop of alice)",
        f"1 login: 1 (alice on {SERVICE})",
        "1 second factor: phone",
    ]


def test_rules_and_members_go_with_a_group(busy: World) -> None:
    assert lost(busy, lookup.group, "dev") == [
        f"1 rule: 4 (allow group:dev b pull on {SERVICE})",
        "1 member: user:alice",
    ]


def test_rules_and_logins_go_with_a_registry(busy: World) -> None:
    assert lost(busy, lookup.registry, SERVICE) == [
        f"1 rule: 4 (allow group:dev b pull on {SERVICE})",
        f"1 login: 1 (alice on {SERVICE})",
    ]


def test_nothing_goes_with_what_has_nothing(world: World) -> None:
    world.user("bob")
    assert lost(world, lookup.account, "bob") == []


def test_whatever_names_a_thing_is_told_when_it_goes() -> None:
    """A table that comes to name accounts, groups or registries must be added to the losses."""
    naming = {
        table.name
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table.name in ("account", "account_group", "registry")
    }
    told = {"rule", "rule_subject", "app_token", "refresh_token", "invitation", "delegation"}
    told |= {"second_factor"}
    # A login to the console ends by itself within hours.
    passing = {"recovery_code", "console_session", "registry_check"}
    assert naming - told == {"membership", "signing_key", "account"} | passing


def test_only_the_first_few_of_many_are_named(world: World) -> None:
    for number in range(7):
        world.allow(f"user:{ADMIN}", f"a{number}", "pull")
    (text,) = lost(world, lookup.account, ADMIN)
    assert text.startswith("9 rules: 1 (")
    assert text.endswith("; … and 4 more")
    assert text.count("(allow") == losses.FIRST


def test_the_losses_of_many_things_are_added_up(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_AT_ONCE", 1)
    busy.robot("ci")
    busy.app_token("ci", name="pipeline")
    with busy.wiring.store.read() as session:
        rows = [lookup.account(session, name) for name in ("alice", "ci")]
        (tokens,) = [loss for loss in losses.of(session, rows) if loss.what == "app token"]
    assert tokens == Loss("app token", 2, ("1 (laptop of alice)", "2 (pipeline of ci)"))


def test_the_record_of_a_removal_has_the_numbers(busy: World) -> None:
    with busy.wiring.store.change("test") as change:
        accounts.remove(change, "alice")
    with busy.wiring.store.read() as session:
        record = session.scalars(select(AuditRecord).order_by(AuditRecord.id.desc())).first()
    assert record is not None
    assert record.before is not None
    assert {"rules": 1, "app_tokens": 1, "logins": 1}.items() <= record.before.items()


# The last administrator.

TAKING = {
    "remove": lambda c, **more: accounts.remove(c, ADMIN, **more),
    "disable": lambda c, **more: accounts.set_disabled(c, ADMIN, disabled=True, **more),
    "demote": lambda c, **more: accounts.set_role(c, ADMIN, admin=False, **more),
}


@pytest.mark.parametrize("take", TAKING.values(), ids=TAKING)
def test_the_last_administrator_goes_by_force_only(
    world: World, take: Callable[..., object]
) -> None:
    with pytest.raises(Refused, match="last administrator"), world.wiring.store.change("t") as c:
        take(c)
    with world.wiring.store.change("test") as change:
        take(change, force=True)


@pytest.mark.parametrize("take", TAKING.values(), ids=TAKING)
def test_an_administrator_beside_another_goes_without_force(
    world: World, take: Callable[..., object]
) -> None:
    world.user("second")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "second", admin=True)
        take(change)


# The last registry in use.


def record_requests(store: Store, *services: str, ago: timedelta = timedelta(hours=1)) -> None:
    """Have registries asked for tokens some time ago."""
    texts = "request_id outcome account credential address client requested granted reason rules"
    empty: dict[str, Any] = dict.fromkeys(texts.split(), "")
    with store.append() as session:
        at = store.time(session) - ago
        session.add_all(TokenRecord(at=at, service=each, **empty) for each in services)


def remove(change: Change, service: str, **more: bool) -> None:
    entries.remove(change, service, **more)


def test_the_only_registry_in_use_goes_by_force_only(world: World) -> None:
    world.registry("idle")
    record_requests(world.wiring.store, SERVICE, "unknown", SERVICE)
    store = world.wiring.store
    with pytest.raises(Refused, match="only registry that was asked"), store.change("t") as change:
        remove(change, SERVICE)
    with store.change("test") as change:
        remove(change, "idle")
        remove(change, SERVICE, force=True)


def test_a_registry_beside_another_in_use_goes_without_force(world: World) -> None:
    world.registry("other")
    record_requests(world.wiring.store, SERVICE, "other")
    with world.wiring.store.change("test") as change:
        remove(change, SERVICE)


def test_what_was_asked_longer_ago_than_a_day_is_not_in_use(world: World) -> None:
    record_requests(world.wiring.store, SERVICE, ago=timedelta(hours=25))
    with world.wiring.store.change("test") as change:
        remove(change, SERVICE)


def test_of_very_many_requests_the_latest_tell(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "LATEST", 2)
    world.registry("other")
    record_requests(world.wiring.store, "other", ago=timedelta(hours=2))
    record_requests(world.wiring.store, SERVICE, SERVICE)
    with world.wiring.store.read() as session:
        assert losses.in_use(session, world.wiring.store.time(session)) == {SERVICE}

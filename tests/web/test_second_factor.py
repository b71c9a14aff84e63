"""A password where a second factor is set up, or must be: it is good for nothing alone."""

import secrets
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from flask import g
from sqlalchemy import select
from structlog.testing import capture_logs

from authserver.auth import passwords
from authserver.auth.credentials import Origin
from authserver.core.conditions import Circumstances
from authserver.core.errors import Forbidden, NotFound, SecondFactorNeeded, Unauthorized
from authserver.core.second_factor import Demanded, Due, due
from authserver.db import accounts, lookup, refresh_tokens, second_factors
from authserver.db.models import AccountRow, TokenRecord
from authserver.policy import access
from authserver.policy import explain as policy_explain
from authserver.runtime.settings import Settings
from authserver.web.api.caller import Callers, Need
from tests.web.answers import refused
from tests.web.test_same_work import CONFIGURED, FAILURES, Work, populate, work
from tests.world import ADMIN, COST, PASSWORD, SERVICE, World, basic

__all__ = ["work"]

QUERY = f"service={SERVICE}&scope=repository:team/app:pull"
HERE = Origin("192.0.2.1", "a browser")
HAS = "this account has a second factor: make an app token in the console at"
MUST = "set up a second factor and make an app token in the console at"
CONSOLE = "http://localhost:5001/console/"
USERS = {"bob": False, "carol": True}
"""And whether each is an administrator."""


def enrol(world: World, name: str) -> None:
    with world.wiring.store.change("test") as change:
        account = lookup.account(change.session, name)
        second_factors.add_totp(change, account, "phone", b"sealed", 1, secrets.token_bytes)
    world.wiring.state.refresh()


def reset(world: World, name: str) -> None:
    with world.wiring.store.change("test") as change:
        second_factors.reset(change, lookup.account(change.session, name))
    world.wiring.state.refresh()


def peopled(settings: Settings, demanded: Demanded = Demanded.OPTIONAL) -> World:
    world = World.over(settings.model_copy(update={"second_factor": demanded}))
    for name, admin in USERS.items():
        with world.wiring.store.change("test") as change:
            hashed = passwords.hash_password(PASSWORD, COST)
            accounts.add_user(change, name, hashed, admin=admin)
        world.allow(f"user:{name}", "team/**", "all")
    return world


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    made = peopled(settings)
    with made.client.application.app_context():
        g.request_id = "r1"
        yield made
    made.close()


def callers(world: World) -> Callers:
    wiring = world.wiring
    return Callers(wiring.state, wiring.issuer.backends, wiring.issuer.journal)


def on_page(world: World, name: str, current: str, new: str) -> Any:
    form = {"name": name, "current": current, "password": new, "again": new}
    return world.client.post("/password", data=form)


def me(world: World, name: str, secret: str) -> Any:
    return world.client.get("/api/v1/me", headers={"Authorization": basic(name, secret)})


@pytest.mark.parametrize("demanded", Demanded)
def test_law_a_password_alone_passes_nowhere_or_everywhere(
    settings: Settings, demanded: Demanded
) -> None:
    world = peopled(settings, demanded)
    tokens = {name: world.app_token(name)[1] for name in USERS}
    for (name, admin), has in product(USERS.items(), (False, True)):
        if has:
            enrol(world, name)
        what = due(demanded, has=has, admin=admin)
        alone = what is Due.NOTHING
        says = {Due.NOTHING: "", Due.PROOF: HAS, Due.ENROLMENT: MUST}[what]
        forms = {"grant_type": "password", "username": name, "password": PASSWORD}
        for _ in range(2):  # the second one is remembered
            for response in (
                world.get(QUERY, auth=(name, PASSWORD)),
                world.get(f"{QUERY}&offline_token=true", auth=(name, PASSWORD)),
                world.post(**forms, access_type="offline"),
                me(world, name, PASSWORD),
            ):
                assert (response.status_code == 200) == alone, (name, has)
                assert alone or response.status_code == 401
                assert f"{says} {CONSOLE}" in response.text or alone
        answered = on_page(world, name, PASSWORD, f"{PASSWORD} {has} {demanded}")
        assert (answered.status_code == 200) == alone, (name, has)
        assert alone or CONSOLE in answered.text
        if alone:
            with world.wiring.store.change("test") as change:
                hashed = passwords.hash_password(PASSWORD, COST)
                accounts.set_password(change, name, hashed)
            world.wiring.state.refresh()
        explained = policy_explain.explain(
            *(world.wiring.state.current.snapshot, SERVICE, name, ["team/app:pull"]),
            Circumstances(None, None),
            demanded=demanded,
        )
        assert (explained.app_tokens_only, explained.due) == (not alone, what)
        everybody = access.who_can(
            *(world.wiring.state.current.snapshot, SERVICE, "pull", "team/app"),
            *(Circumstances(None, None), demanded),
        )
        assert {a.name: a.due for a in everybody}[name] is what
        # An app token goes on.
        assert world.granted(QUERY, auth=(name, tokens[name]))
        assert me(world, name, tokens[name]).status_code == 200
        reset(world, name)
    world.close()


def test_only_the_right_password_is_told_so(work: Work, settings: Settings) -> None:
    world = World.over(settings.model_copy(update={"bcrypt_cost": CONFIGURED}))
    populate(world)
    enrol(world, "current")
    enrol(world, ADMIN)
    work.taken()
    for name, auth in list(FAILURES.items())[:7]:
        response = world.get(auth=auth)
        assert work.taken() == 2**CONFIGURED, name
        refused(response)
        work.taken()
    assert HAS in world.get(auth=("current", PASSWORD)).text
    world.close()


def test_wrong_passwords_are_limited_and_answered_as_before(world: World) -> None:
    enrol(world, "bob")
    answers = [world.get(QUERY, auth=("bob", f"wrong {n}")) for n in range(12)]
    assert [answer.status_code for answer in answers[-2:]] == [429, 429]
    assert all(HAS not in answer.text for answer in answers)
    assert "wrong" in on_page(world, "carol", "wrong", "another password").text


def test_logins_end_when_a_factor_is_set_up_and_none_begins_before(world: World) -> None:
    session = world.log_in("bob")
    known = world.wiring.state.current.snapshot.accounts["bob"]
    form = {"grant_type": "refresh_token", "refresh_token": session}
    assert world.post(**form).status_code == 200
    enrol(world, "bob")
    assert world.post(**form).status_code == 401
    login = refresh_tokens.Login(known.id, "bob", known.password_hash, *HERE)
    idle = world.wiring.issuer.backends.uses.idle
    with (
        world.wiring.store.change("test") as change,
        pytest.raises(NotFound, match="second factor by now"),
    ):
        refresh_tokens.add(change, login, SERVICE, "secret", idle)


def test_logins_go_on_where_one_must_be_set_up(settings: Settings) -> None:
    before = peopled(settings)
    session = before.log_in("bob")
    before.close()
    world = World.over(settings.model_copy(update={"second_factor": Demanded.EVERYBODY}))
    assert world.post(grant_type="refresh_token", refresh_token=session).status_code == 200
    assert world.get(QUERY, auth=("bob", PASSWORD)).status_code == 401
    world.close()


def test_the_first_of_two_says_what_is_due_and_is_good_for_nothing_else(world: World) -> None:
    console = callers(world)
    caller = console.prove("bob", PASSWORD, HERE, first_of_two=True)
    assert (caller.name, caller.identity.due) == ("bob", Due.NOTHING)
    enrol(world, "bob")
    caller = console.prove("bob", PASSWORD, HERE, first_of_two=True)
    assert caller.identity.due is Due.PROOF
    assert console.still(caller, HERE).identity.due is Due.PROOF
    with world.wiring.store.change("test") as change:
        console.require_still(change, caller, Need.ANY)
    with pytest.raises(SecondFactorNeeded):
        console.prove("bob", PASSWORD, HERE)
    with pytest.raises(Forbidden, match="another"):
        console.prove("bob", "wrong", HERE, first_of_two=True)
    _, token = world.app_token("bob")
    with pytest.raises(Forbidden, match="another"):
        console.prove("bob", token, HERE, first_of_two=True)


def test_a_factor_that_was_set_up_meanwhile_ends_a_request_that_waits(world: World) -> None:
    console = callers(world)
    caller = console.prove("bob", PASSWORD, HERE)
    enrol(world, "bob")
    with pytest.raises(SecondFactorNeeded):
        console.still(caller, HERE)
    with world.wiring.store.change("test") as change, pytest.raises(Unauthorized):
        console.require_still(change, caller, Need.ANY)


def test_the_api_changes_no_password_by_an_app_token_and_the_password(world: World) -> None:
    enrol(world, "carol")
    with world.wiring.store.change("test") as change:
        row = lookup.account(change.session, "carol")
        change.session.flush()
        assert row.second_factor
    _, token = world.app_token("carol", "admin")
    answer = world.client.post(
        "/api/v1/me/password",
        headers={"Authorization": basic("carol", token)},
        json={"current": PASSWORD, "new": "quite another one"},
    )
    assert answer.status_code == 403
    assert CONSOLE in answer.text


def test_a_refusal_has_its_record_and_its_line(world: World) -> None:
    enrol(world, "bob")
    with capture_logs() as logs:
        world.get(QUERY, auth=("bob", PASSWORD))
        me(world, "bob", PASSWORD)
    token, api = logs
    assert "second factor is set up" in token["reason"]
    assert "second factor is set up" in api["reason"]
    assert PASSWORD not in str(logs)
    world.wiring.maintenance.tick()
    with world.wiring.store.read() as session:
        reasons = session.scalars(select(TokenRecord.reason)).all()
        assert sum("second factor" in reason for reason in reasons) == 2
        assert session.scalars(select(AccountRow.second_factor)).all().count(True) == 1


def test_robots_have_none(settings: Settings) -> None:
    world = peopled(settings, Demanded.EVERYBODY)
    world.robot("ci")
    _, token = world.app_token("ci")
    world.allow("robot:ci", "team/**", "pull")
    assert world.granted(QUERY, auth=("ci", token))
    world.close()

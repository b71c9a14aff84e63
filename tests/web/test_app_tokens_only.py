"""Registries and accounts for which no token is issued by a password."""

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from authserver.core.errors import NotFound
from authserver.db import accounts, refresh_tokens
from authserver.registry import entries
from authserver.runtime.settings import Settings
from tests.web.answers import refused
from tests.web.test_same_work import CONFIGURED, FAILURES, Work, populate, work
from tests.world import PASSWORD, SERVICE, World

__all__ = ["work"]

HOW = "POST /api/v1/me/tokens"


def of_registry(world: World, *, only: bool = True) -> None:
    with world.wiring.store.change("test") as change:
        entries.edit(change, SERVICE, app_tokens_only=only)
    world.wiring.state.refresh()


def of_account(world: World, *, only: bool = True) -> None:
    with world.wiring.store.change("test") as change:
        accounts.set_app_tokens_only(change, "bob", only=only)
    world.wiring.state.refresh()


@pytest.fixture(params=[of_registry, of_account])
def switch(request: pytest.FixtureRequest) -> Callable[..., None]:
    made: Callable[..., None] = request.param
    return made


@pytest.fixture
def peopled(world: World) -> World:
    world.user("bob")
    world.allow("user:bob", "team/**", "all")
    return world


QUERY = f"service={SERVICE}&scope=repository:team/app:pull"


def test_a_password_gets_no_token_and_is_told_how_to_make_an_app_token(
    peopled: World, switch: Callable[..., None]
) -> None:
    _, app_token = peopled.app_token("bob")
    assert peopled.granted(QUERY, auth=("bob", PASSWORD))
    switch(peopled)
    who = "the registry" if switch is of_registry else "the account bob"
    for response in (
        peopled.get(QUERY, auth=("bob", PASSWORD)),
        peopled.get(f"service={SERVICE}&offline_token=true", auth=("bob", PASSWORD)),
        peopled.post(grant_type="password", username="bob", password=PASSWORD),
    ):
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic ")
        assert response.json is not None
        assert HOW in response.json["details"]
        assert f"{who} takes no password here" in response.json["details"]
        assert HOW in response.json["errors"][0]["message"]
        assert "token" not in response.json
    assert peopled.granted(QUERY, auth=("bob", app_token))
    switch(peopled, only=False)
    assert peopled.granted(QUERY, auth=("bob", PASSWORD))


def test_logins_by_a_password_end_for_good(peopled: World, switch: Callable[..., None]) -> None:
    peopled.registry("other")
    session, elsewhere = peopled.log_in("bob"), peopled.log_in("bob", service="other")
    switch(peopled)
    form = {"grant_type": "refresh_token", "refresh_token": session}
    assert peopled.post(**form).status_code == 401
    switch(peopled, only=False)
    assert peopled.post(**form).status_code == 401
    other = {"grant_type": "refresh_token", "refresh_token": elsewhere, "service": "other"}
    assert peopled.post(**other).status_code == (200 if switch is of_registry else 401)


def test_a_login_that_is_left_in_the_store_is_refused_too(
    peopled: World, switch: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = peopled.log_in("bob")
    monkeypatch.setattr(refresh_tokens, "end_all", lambda *_: 0)
    monkeypatch.setattr(refresh_tokens, "end_on", lambda *_: None)
    switch(peopled)
    response = peopled.post(grant_type="refresh_token", refresh_token=session)
    assert response.status_code == 401


def test_no_login_is_stored_that_began_before(peopled: World, switch: Callable[..., None]) -> None:
    known = peopled.wiring.state.current.snapshot.accounts["bob"]
    login = refresh_tokens.Login(known.id, "bob", known.password_hash, "192.0.2.1", "docker")
    idle = peopled.wiring.issuer.backends.uses.idle
    switch(peopled)
    with (
        peopled.wiring.store.change("test") as change,
        pytest.raises(NotFound, match="only app tokens"),
    ):
        refresh_tokens.add(change, login, SERVICE, "secret", idle)


def test_only_the_right_password_is_told_so(work: Work, settings: Settings) -> None:
    world = World.over(settings.model_copy(update={"bcrypt_cost": CONFIGURED}))
    populate(world)
    of_registry(world)
    with world.wiring.store.change("test") as change:
        accounts.set_app_tokens_only(change, "current", only=True)
    world.wiring.state.refresh()
    work.taken()
    for name, auth in list(FAILURES.items())[:7]:
        response = world.get(auth=auth)
        assert work.taken() == 2**CONFIGURED, name
        refused(response)
    assert HOW in world.get(auth=("current", PASSWORD)).text
    world.close()


def test_a_refusal_has_its_record(peopled: World, switch: Callable[..., None]) -> None:
    switch(peopled)
    with capture_logs() as logs:
        peopled.get(QUERY, auth=("bob", PASSWORD))
    (line,) = logs
    assert (line["event"], line["account"]) == ("token refused", "bob")
    assert "takes app tokens only" in line["reason"]
    assert PASSWORD not in str(line)


def test_the_password_still_makes_an_app_token(peopled: World, switch: Callable[..., None]) -> None:
    switch(peopled)
    made = peopled.client.post("/api/v1/me/tokens", auth=("bob", PASSWORD), json={"name": "laptop"})
    assert made.status_code == 201
    assert made.json is not None
    peopled.wiring.state.refresh()
    assert peopled.granted(QUERY, auth=("bob", made.json["token"]))


def test_anonymous_and_robots_are_as_before(peopled: World) -> None:
    peopled.robot("ci")
    _, app_token = peopled.app_token("ci")
    peopled.allow("everyone", "public/**", "pull")
    of_registry(peopled)
    scope = f"service={SERVICE}&scope=repository:public/x:pull"
    assert peopled.granted(scope)
    assert peopled.granted(scope, auth=("ci", app_token))


def test_it_is_in_force_in_what_was_answered_before(
    peopled: World, switch: Callable[..., None]
) -> None:
    for _ in range(3):
        peopled.granted(QUERY, auth=("bob", PASSWORD))
    switch(peopled)
    assert peopled.get(QUERY, auth=("bob", PASSWORD)).status_code == 401

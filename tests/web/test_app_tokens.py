"""App tokens and robots, through the token endpoint."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from authserver.core.decision import decide
from authserver.core.errors import Refused
from authserver.core.patterns import Pattern
from authserver.core.rules import Effect, Rule
from authserver.core.scope import Scope
from authserver.core.subjects import Account, subject
from authserver.db import accounts, app_tokens
from authserver.db.app_tokens import ceiling_limit
from tests.web.test_grants import at
from tests.world import PASSWORD, Clock, World

SCOPES = "scope=repository:team/app:pull,push&scope=repository:other:pull"


@pytest.fixture
def ci(world: World) -> World:
    """A user who may much, her robot who may too, and what anybody may."""
    world.user("alice")
    world.robot("ci", owner="alice")
    for name in ("user:alice", "robot:ci"):
        world.allow(name, "**", "all")
    world.allow("anonymous", "public/**", "pull")
    return world


def status(world: World, name: str, secret: str) -> int:
    by_get = world.get("service=registry", auth=(name, secret)).status_code
    by_post = world.post(grant_type="password", username=name, password=secret).status_code
    assert by_get == by_post
    return by_get


@pytest.mark.parametrize("name", ["ci", "alice"])
def test_it_is_used_as_the_password_with_the_accounts_name(ci: World, name: str) -> None:
    _, secret = ci.app_token(name)
    assert ci.granted(SCOPES, auth=(name, secret)) == {
        "repository:team/app": ["pull", "push"],
        "repository:other": ["pull"],
    }
    assert status(ci, name, secret) == 200


def test_a_ceiling_cuts_what_the_account_may(ci: World) -> None:
    _, secret = ci.app_token("ci", "repository:team/**:pull")
    with capture_logs() as logs:
        granted = ci.granted(SCOPES, auth=("ci", secret))
    assert granted == {"repository:team/app": ["pull"]}
    assert "push is beyond what this credential may be used for" in logs[-1]["reason"]


def test_a_ceiling_gives_nothing_that_the_account_may_not(ci: World) -> None:
    ci.deny("robot:ci", "team/**", "push")
    _, secret = ci.app_token("ci", "repository:**:all")
    assert ci.granted(SCOPES, auth=("ci", secret))["repository:team/app"] == ["pull"]


def test_what_anybody_may_a_narrow_token_may_too_unless_it_is_denied(ci: World) -> None:
    _, secret = ci.app_token("ci", "repository:team/**:pull")
    public = "scope=repository:public/app:pull"
    assert ci.granted(public, auth=("ci", secret)) == {"repository:public/app": ["pull"]}
    ci.deny("robot:ci", "public/**", "pull")
    assert ci.granted(public, auth=("ci", secret)) == {}


def test_it_never_gets_a_refresh_token(ci: World) -> None:
    _, secret = ci.app_token("alice")
    for body in (
        ci.get("service=registry&offline_token=true", auth=("alice", secret)).json,
        ci.post(
            grant_type="password", username="alice", password=secret, access_type="offline"
        ).json,
    ):
        assert body is not None
        assert "access_token" in body
        assert "refresh_token" not in body


def test_a_foreign_a_mistyped_and_a_revoked_one_are_refused_alike(ci: World) -> None:
    number, secret = ci.app_token("ci")
    _, of_alice = ci.app_token("alice")
    with ci.wiring.store.change("test") as change:
        app_tokens.revoke(change, number)
    ci.wiring.state.refresh()
    bodies = set()
    for shown, why in [
        (secret, "unknown or revoked app token"),
        (of_alice, "app token of another account"),
        (of_alice[:-1], "mistyped app token"),
    ]:
        with capture_logs() as logs:
            response = ci.get("service=registry", auth=("ci", shown))
        assert response.status_code == 401
        assert logs[0]["reason"] == why
        bodies.add(response.text)
    assert len(bodies) == 1


def test_it_expires(ci: World) -> None:
    _, secret = ci.app_token("ci", lifetime=timedelta(days=30))
    clock = Clock()
    later = at(ci, clock)
    clock.move(timedelta(days=29))
    assert status(later, "ci", secret) == 200
    clock.move(timedelta(days=1, minutes=1))
    assert status(later, "ci", secret) == 401


def test_one_that_never_expires_never_does(ci: World) -> None:
    _, secret = ci.app_token("ci", lifetime=None)
    clock = Clock()
    later = at(ci, clock)
    clock.move(timedelta(days=1000))
    # The signing key has its own end.
    assert later.get("service=registry", auth=("ci", secret)).status_code != 401


def test_the_log_warns_before_one_in_use_expires(ci: World) -> None:
    _, soon = ci.app_token("ci", lifetime=timedelta(days=13))
    with capture_logs() as logs:
        status(ci, "ci", soon)
    assert [line["token"] for line in logs if "expires soon" in line["event"]] == ["token"]


def test_it_is_good_only_from_its_networks(ci: World) -> None:
    _, inside = ci.app_token("ci", networks=("10.0.0.0/8", "127.0.0.0/8"))
    _, outside = ci.app_token("ci", name="outside", networks=("10.0.0.0/8",))
    assert status(ci, "ci", inside) == 200
    assert status(ci, "ci", outside) == 401


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.0.0.1/8", "nowhere", ""])
def test_a_network_that_is_none_or_all_is_refused(ci: World, network: str) -> None:
    with pytest.raises(Refused):
        ci.app_token("ci", networks=(network,))


@pytest.mark.parametrize(
    "scope",
    ["repository:Team:pull", "repository:a:fly", "repository:a", "plugin:a:pull", "repository:a:"],
)
def test_a_ceiling_that_can_be_none_is_refused(ci: World, scope: str) -> None:
    with pytest.raises(Refused):
        ci.app_token("ci", scope)


def test_the_admin_ceiling_is_no_right_on_registries(ci: World) -> None:
    _, admin = ci.app_token("alice", "admin")
    _, both = ci.app_token("alice", "admin", "repository:other:pull", name="both")
    scopes = f"{SCOPES}&scope=repository:public/a:pull,push"
    public = {"repository:public/a": ["pull"]}
    assert ci.granted(scopes, auth=("alice", admin)) == public
    assert ci.granted(scopes, auth=("alice", both)) == public | {"repository:other": ["pull"]}


def rotate(world: World, number: int, grace: timedelta) -> str:
    with world.wiring.store.change("test") as change:
        _, secret = app_tokens.rotate(change, number, grace, lambda size: bytes([7]) * size)
    world.wiring.state.refresh()
    return secret


def test_rotation_overlaps_for_the_grace_and_no_longer(ci: World) -> None:
    number, old = ci.app_token("ci", "repository:team/**:pull")
    new = rotate(ci, number, timedelta(hours=1))
    clock = Clock()
    later = at(ci, clock)
    for secret in (old, new):
        assert later.granted(SCOPES, auth=("ci", secret)) == {"repository:team/app": ["pull"]}
    clock.move(timedelta(hours=1, minutes=1))
    assert status(later, "ci", new) == 200
    assert status(later, "ci", old) == 401


def test_rotation_does_not_bring_an_expired_secret_back(ci: World) -> None:
    number, old = ci.app_token("ci", lifetime=timedelta(seconds=0))
    rotate(ci, number, timedelta(hours=1))
    assert status(ci, "ci", old) == 401


def test_rotation_lets_an_old_secret_live_no_longer_than_it_would_have(ci: World) -> None:
    number, old = ci.app_token("ci", lifetime=timedelta(minutes=10))
    rotate(ci, number, timedelta(days=1))
    clock = Clock()
    clock.move(timedelta(minutes=11))
    assert status(at(ci, clock), "ci", old) == 401


@pytest.mark.parametrize("outlives", [False, True])
def test_a_robot_is_disabled_with_its_owner_unless_it_outlives_it(
    ci: World, outlives: bool
) -> None:
    ci.robot("bot", owner="alice", outlives_owner=outlives)
    _, secret = ci.app_token("bot")
    ci.disable("alice")
    assert status(ci, "bot", secret) == (200 if outlives else 401)
    ci.disable("alice", disabled=False)
    assert status(ci, "bot", secret) == 200


def test_a_robot_has_no_password(ci: World) -> None:
    assert status(ci, "ci", PASSWORD) == 401


def test_an_owner_of_robots_is_not_removed(ci: World) -> None:
    with pytest.raises(Refused, match="ci"), ci.wiring.store.change("test") as change:
        accounts.remove(change, "alice", force=True)


def test_a_robot_that_is_made_again_inherits_no_token(ci: World) -> None:
    _, secret = ci.app_token("ci")
    with ci.wiring.store.change("test") as change:
        accounts.remove(change, "ci")
    ci.robot("ci")
    assert status(ci, "ci", secret) == 401
    assert ci.wiring.state.current.snapshot.app_tokens == {}


def test_the_record_names_the_credential_and_never_the_secret(ci: World) -> None:
    _, secret = ci.app_token("ci", name="deploy")
    ci.get("service=registry", auth=("ci", secret))
    event = ci.wiring.issuer.journal.pending[-1]
    assert (event.account, event.credential) == ("ci", "app token deploy")
    assert secret not in repr(event)


def test_a_password_that_looks_like_one_of_our_tokens_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="taken for one"):
        world.user("bob", "authserver_app_x")


NAMES = ["team/app", "team/app/web", "public/app", "a"]
LIMITS = [
    "repository:team/**:pull",
    "repository:**:push",
    "repository:a:all",
    "repository:*/*:delete",
]
SUBJECTS = ["user:alice", "everyone", "anonymous", "authenticated"]


@given(st.data())
@hypothesis_settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_laws_of_the_ceiling(data: st.DataObject) -> None:
    """grant(credential) ⊆ grant(account), and anonymous's grant is under every ceiling."""

    def rule(number: int) -> Rule:
        kind = data.draw(st.sampled_from(SUBJECTS))
        pattern = data.draw(st.sampled_from(["**", "team/**", "*/app", "a", "{account}/**"]))
        actions = data.draw(st.sets(st.sampled_from(["pull", "push", "delete", "*"]), min_size=1))
        effect = data.draw(st.sampled_from(list(Effect)))
        return Rule(number, effect, (subject(kind),), (Pattern(pattern),), frozenset(actions))

    rules = [rule(number) for number in range(data.draw(st.integers(0, 6)))]
    ceiling = [ceiling_limit(text) for text in data.draw(st.lists(st.sampled_from(LIMITS)))]
    asked = Scope("repository", data.draw(st.sampled_from(NAMES)), ("pull", "push", "delete", "*"))
    alice = Account("alice")

    def granted(*args: Any) -> set[str]:
        return set(decide(rules, *args).granted)

    narrow = granted(alice, "r", asked, ceiling)
    assert narrow <= granted(alice, "r", asked)
    denied = {
        action
        for r in rules
        if r.effect is Effect.DENY and r.binds(alice) and r.covers(asked.name, alice)
        for action in (("pull", "push", "delete", "*") if "*" in r.actions else r.actions)
    }
    anyone = granted(None, "r", asked)
    assert anyone - denied - ({"*"} if denied else set()) <= narrow

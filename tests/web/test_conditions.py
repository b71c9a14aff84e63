"""Conditions on the token endpoint, and every question about rules agreeing with it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authserver.auth.authorization import ScopeRequest
from authserver.auth.by_password import Password
from authserver.auth.credentials import Origin
from authserver.auth.issuer import TokenRequest
from authserver.core.addresses import parse_address
from authserver.core.conditions import Circumstances
from authserver.core.rules import Effect, expand, new_rule
from authserver.core.subjects import subjects
from authserver.db import rules
from authserver.policy.access import effective, who_can
from authserver.policy.explain import explain
from tests.unit.strategies import ADDRESSES, NETWORKS, covers
from tests.world import PASSWORD, SERVICE, Clock, World


def pulls(world: World, name: str | None, repository: str, peer: str) -> bool:
    return "pull" in granted(world, name, repository, "pull", peer)


def granted(world: World, name: str | None, repository: str, actions: str, peer: str) -> set[str]:
    auth = None if name is None else (name, PASSWORD)
    response = world.get(
        f"scope=repository:{repository}:{actions}", auth=auth, environ_base={"REMOTE_ADDR": peer}
    )
    assert response.status_code == 200, response.text
    access = world.claims(response)["access"]
    return set(access[0]["actions"]) if access else set()


def test_a_network_is_told_from_the_clients_address(world: World) -> None:
    world.user("alice")
    world.allow("user:alice,anonymous", "a", "pull", networks=["10.1.0.0/16", "2001:db8::/32"])
    for name in ("alice", None):
        assert pulls(world, name, "a", "10.1.2.3")
        assert pulls(world, name, "a", "::ffff:10.1.2.3")
        assert pulls(world, name, "a", "2001:db8::1")
        assert not pulls(world, name, "a", "10.2.0.1")
        assert not pulls(world, name, "a", "unknown")


def test_a_deny_by_network_holds_where_the_address_is_unknown(world: World) -> None:
    world.user("alice")
    world.allow("user:alice", "a", "pull")
    world.deny("user:alice", "a", "pull", networks=["10.1.0.0/16"])
    assert pulls(world, "alice", "a", "192.0.2.1")
    assert not pulls(world, "alice", "a", "10.1.2.3")
    assert not pulls(world, "alice", "a", "unknown")


def test_a_period_begins_and_ends_without_any_change(world: World) -> None:
    world.user("alice")
    now = world.wiring.issuer.clock().replace(microsecond=0)
    hour = timedelta(hours=1)
    world.allow("user:alice", "a", "pull", valid_from=now + hour, valid_until=now + 2 * hour)
    password = Password("alice", PASSWORD)
    origin = Origin("192.0.2.1", "test")
    asked = TokenRequest(
        password,
        ScopeRequest((SERVICE,), (), ("repository:a:pull",)),
        offline=False,
        origin=origin,
        request_id="r",
    )
    moments = [(0, False), (1, True), (1.5, True), (2, False)]
    for hours, expected in moments:
        later = replace(world.wiring.issuer, clock=Clock(now + hours * hour))
        response = later.issue(asked)
        assert (response.authorization.granted != "") is expected


def test_a_disabled_rule_grants_nothing(world: World) -> None:
    number = world.allow("anonymous", "a", "pull")
    assert pulls(world, None, "a", "192.0.2.1")
    with world.wiring.store.change("test") as change:
        rules.set_enabled(change, number, enabled=False)
    world.wiring.state.refresh()
    assert not pulls(world, None, "a", "192.0.2.1")


def test_the_record_says_which_rules_were_touched(world: World) -> None:
    world.user("alice")
    allow = world.allow("user:alice", "a", "push")
    deny = world.deny("everyone", "a", "push")
    world.allow("user:alice", "b", "push")
    granted(world, "alice", "a", "pull,push", "192.0.2.1")
    world.wiring.maintenance.tick()
    with world.wiring.store.read() as session:
        text = session.connection().exec_driver_sql("SELECT rules FROM token_record").scalar()
    assert text == f"{allow} {deny}"


_rules: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    effect=st.sampled_from(list(Effect)),
    about=st.lists(
        st.sampled_from(
            ["user:alice", "user:bob", "group:dev", "authenticated", "anonymous", "everyone"]
        ),
        min_size=1,
        max_size=2,
    ),
    patterns=st.lists(
        st.sampled_from(["**", "a/*", "a/b", "*/b", "{account}/*"]), min_size=1, max_size=2
    ),
    actions=st.sampled_from(["pull", "push", "delete", "all", "pull,delete"]),
    networks=st.sampled_from([[], [], [NETWORKS[0]], [NETWORKS[1], NETWORKS[3]]]),
    enabled=st.sampled_from([True, True, True, False]),
)


@pytest.fixture
def peopled(world: World) -> World:
    for name in ("alice", "bob"):
        world.user(name)
    world.group("dev", "alice")
    return world


@given(
    st.lists(_rules, max_size=6),
    st.sampled_from(["alice", "bob", None]),
    st.sampled_from(["a/b", "a/c", "alice/b"]),
    st.sampled_from(ADDRESSES),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_question_agrees_with_the_token_endpoint(
    peopled: World, wanted: list[dict[str, Any]], name: str | None, repository: str, peer: str
) -> None:
    write_anew(peopled, wanted)
    state = peopled.wiring.state.current.snapshot
    here = Circumstances(parse_address(peer), peopled.wiring.issuer.clock())
    who = name or "anonymous"
    issued = granted(peopled, name, repository, "*", peer)
    (explained,) = explain(state, SERVICE, who, [f"repository:{repository}:*"], here).explained
    assert set(explained.decision.granted) == issued
    for action in ("pull", "push", "delete"):
        names = {a.name for a in who_can(state, SERVICE, action, repository, here)}
        assert (who in names) == (action in issued)
    listed: set[str] = set()
    taken: set[str] = set()
    for entry in effective(state, [SERVICE], who, here).entries:
        if entry.type == "repository" and covers(str(entry.pattern), repository, name):
            listed |= expand(entry.type, entry.actions)
            for deny in entry.denies:
                if any(covers(str(p), repository, name) for p in deny.patterns):
                    taken |= expand(deny.type, deny.actions)
    assert (listed - taken) - {"*"} == issued - {"*"}


def write_anew(world: World, wanted: list[dict[str, Any]]) -> None:
    """Have the store hold these rules and no others."""
    with world.wiring.store.change("test") as change:
        for row in rules.listed(change.session):
            rules.delete(change, row)
        for each in wanted:
            said = new_rule(
                each["effect"],
                subjects(",".join(each["about"])),
                each["patterns"],
                each["actions"],
                networks=each["networks"],
                enabled=each["enabled"],
            )
            if rules.same(change.session, said) is None:
                rules.add(change, said)
    world.wiring.state.refresh()

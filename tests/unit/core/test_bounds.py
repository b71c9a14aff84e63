"""Whether what a credential makes is within its bounds."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from authserver.core.bounds import UNBOUNDED, Bounds, beyond, placed
from authserver.core.patterns import Pattern
from authserver.core.rules import Limit, expand
from authserver.core.subjects import Role
from authserver.db.app_tokens import Wanted, ceiling_limit

NAMES = ["a", "a/b", "a/b/c", "b", "ab/b", "me/a", "me"]
PATTERNS = ["**", "*", "a/**", "a/*", "*/b", "a*/b", "a", "{account}/**", "me/*", "**/b", "a/**/c"]
ADDRESSES = [ip_address(text) for text in ("10.0.0.1", "10.9.0.1", "192.0.2.1", "2001:db8::1")]
NETWORKS = [ip_network(text) for text in ("10.0.0.0/8", "10.0.0.0/16", "2001:db8::/32")]
NOW = datetime(2026, 11, 24, tzinfo=UTC)
TIMES = [NOW + timedelta(days=days) for days in range(4)]

repository = st.builds(
    Limit,
    st.just("repository"),
    st.sampled_from(PATTERNS).map(Pattern),
    st.frozensets(st.sampled_from(["pull", "push", "delete", "*"]), min_size=1),
)
limits = st.lists(repository | st.just(ceiling_limit("registry:catalog:*")), max_size=4)
bounds = st.builds(
    Bounds,
    limits=st.none() | limits.map(lambda found: placed(found, "me")),
    role=st.sampled_from(Role),
    own=st.booleans(),
    networks=st.lists(st.sampled_from(NETWORKS), max_size=2).map(tuple),
    end=st.none() | st.sampled_from(TIMES),
)


def reach(of: Bounds) -> set[object]:
    """Return all that a credential of these bounds is good for, told in a plain way."""
    everything = [ceiling_limit("repository:**:*"), ceiling_limit("registry:catalog:*")]
    allowed = everything if of.limits is None else of.limits
    what: set[object] = {
        (limit.type, name, action)
        for limit in allowed
        for name in [*NAMES, "catalog"]
        for action in expand(limit.type, limit.actions)
        if limit.pattern.matches(name, "me")
    }
    what |= {role for role in Role if role <= of.role} | ({"own"} if of.own else set())
    where = [a for a in ADDRESSES if not of.networks or any(a in n for n in of.networks)]
    when = [time for time in [*TIMES, TIMES[-1] + timedelta(days=1)] if not of.end or time < of.end]
    return {(*one, a, time) if isinstance(one, tuple) else (one, a, time)
            for one in what for a in where for time in when}  # fmt: skip


@given(bounds, bounds)
def test_what_is_not_beyond_reaches_no_further(made: Bounds, maker: Bounds) -> None:
    if not list(beyond(made, maker)):
        assert reach(made) <= reach(maker)


@given(bounds)
def test_bounds_are_within_themselves_and_within_none(of: Bounds) -> None:
    assert not list(beyond(of, of))
    assert not list(beyond(of, UNBOUNDED))


def test_what_is_beyond_is_named() -> None:
    narrow = Bounds((ceiling_limit("repository:a/**:pull"),), Role.NOBODY, own=False, end=NOW)
    assert list(beyond(UNBOUNDED, narrow)) == [
        "administering", "an account's own tokens and logins",
        "repository:**:*", "registry:catalog:*", "for ever",
    ]  # fmt: skip
    reading = Bounds(limits=(), role=Role.AUDITOR, own=False)
    assert list(beyond(reading, narrow)) == ["reading the administration", "for ever"]


def test_a_token_that_reads_and_one_for_its_own_are_within_the_administrators_alone() -> None:
    reading, own, admin = (
        Wanted("x", None, [right]).bounds("me", NOW) for right in ("auditor", "self", "admin")
    )
    assert not [*beyond(reading, admin), *beyond(own, admin)]
    assert list(beyond(own, reading)) == ["an account's own tokens and logins"]
    assert list(beyond(reading, own)) == ["reading the administration"]
    assert list(beyond(admin, own)) == ["administering"]


def test_the_accounts_own_name_is_not_the_others() -> None:
    own = [ceiling_limit("repository:{account}/**:pull")]
    alices = Bounds(placed(own, "alice"), Role.NOBODY, own=False)
    assert list(beyond(Bounds(placed(own, "bob"), Role.NOBODY, own=False), alices)) == [
        "repository:bob/**:pull"
    ]
    assert placed(own, "no@path") == ()

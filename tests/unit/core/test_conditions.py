"""Conditions, and what is refused when a rule is written."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given

from authserver.core.addresses import parse_network
from authserver.core.conditions import Circumstances, Conditions
from authserver.core.decision import decide
from authserver.core.errors import Refused
from authserver.core.rules import Effect, Rule, new_rule
from authserver.core.scope import parse
from authserver.core.subjects import Account, subjects
from tests.unit.strategies import circumstances, conditions, when

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALICE = Account("alice")


def rule(effect: Effect = Effect.ALLOW, **more: Any) -> Rule:
    return new_rule(effect, subjects("user:alice"), ["a"], "pull", **more)


def pulls(rules: list[Rule], address: str | None = None, at: datetime | None = None) -> bool:
    here = Circumstances(ip_address(address) if address else None, at)
    return decide(rules, ALICE, "r", parse("repository:a:pull"), None, here).complete


def is_met(conditions: Conditions, here: Circumstances) -> bool:
    return not any(part.unmet(here) for part in conditions.parts)


@pytest.mark.parametrize(
    ("networks", "address", "holds"),
    [
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.0.0.0/8", "2001:db8::/32"], "2001:db8::5", True),
        (["10.0.0.0/8"], "2001:db8::5", False),
        (["192.0.2.7/32"], "192.0.2.7", True),
        (["192.0.2.7/32"], "192.0.2.8", False),
        ([], "192.0.2.8", True),
    ],
)
def test_a_rule_holds_within_its_networks(networks: list[str], address: str, holds: bool) -> None:
    assert pulls([rule(networks=networks)], address) is holds
    everywhere = rule()
    assert pulls([everywhere, rule(Effect.DENY, networks=networks)], address) is not holds


@pytest.mark.parametrize(
    ("begins", "ends", "holds"),
    [
        (None, NOON + HOUR, True),
        (None, NOON, False),
        (NOON, None, True),
        (NOON + HOUR, None, False),
        (NOON - HOUR, NOON + HOUR, True),
        (NOON - 2 * HOUR, NOON - HOUR, False),
    ],
)
def test_a_rule_holds_from_its_beginning_until_before_its_end(
    begins: datetime | None, ends: datetime | None, holds: bool
) -> None:
    when: dict[str, Any] = {"valid_from": begins, "valid_until": ends}
    assert pulls([rule(**when)], at=NOON) is holds
    assert pulls([rule(), rule(Effect.DENY, **when)], at=NOON) is not holds


def test_what_is_not_known_counts_against_whoever_asks() -> None:
    narrow: tuple[dict[str, Any], ...] = ({"networks": ["10.0.0.0/8"]}, {"valid_until": NOON})
    for more in narrow:
        assert not pulls([rule(**more)])
        assert not pulls([rule(), rule(Effect.DENY, **more)])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"networks": [""]}, "no network"),
        ({"networks": ["10.0.0.1/8"]}, "host bits"),
        ({"networks": ["0.0.0.0/0"]}, "every address"),
        ({"networks": ["::/0"]}, "every address"),
        ({"networks": ["::ffff:10.0.0.0/104"]}, "write it as an IPv4 network"),
        ({"networks": ["example.com"]}, "no network"),
        ({"valid_until": NOON}, "ended already"),
        ({"valid_until": NOON - HOUR}, "ended already"),
        ({"valid_from": NOON + HOUR, "valid_until": NOON + HOUR}, "before it begins"),
        ({"valid_from": NOON + 2 * HOUR, "valid_until": NOON + HOUR}, "before it begins"),
        ({"resource_type": "plugin"}, "repository or registry"),
    ],
)
def test_conditions_that_make_no_sense_are_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=why):
        rule(now=NOON, **more)


@pytest.mark.parametrize(("about", "patterns"), [("", "a"), ("user:alice,", "a")])
def test_an_empty_subject_is_refused(about: str, patterns: str) -> None:
    with pytest.raises(Refused, match="unknown subject"):
        new_rule(Effect.ALLOW, subjects(about), patterns.split(","), "pull")


def test_a_rule_about_nobody_or_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="no subject"):
        new_rule(Effect.ALLOW, [], ["a"], "pull")
    with pytest.raises(Refused, match="no pattern"):
        new_rule(Effect.ALLOW, subjects("everyone"), [], "pull")
    with pytest.raises(Refused, match="a pattern is empty"):
        new_rule(Effect.ALLOW, subjects("everyone"), ["a", ""], "pull")


def test_a_rule_has_one_form_however_it_was_written() -> None:
    one = new_rule(
        Effect.ALLOW,
        subjects("user:bob,user:alice,user:bob"),
        ["b", "a", "b"],
        "push,pull",
        networks=["2001:db8::/32", "10.1.0.0/16", "10.1.0.0/16", "9.0.0.0/8"],
    )
    assert str(one) == (
        "allow user:alice,user:bob a,b pull,push on every registry "
        "from 9.0.0.0/8,10.1.0.0/16,2001:db8::/32"
    )


def test_a_rule_says_when_it_holds_and_that_it_is_disabled() -> None:
    said = rule(valid_from=NOON, valid_until=NOON + HOUR, enabled=False)
    assert str(said).endswith("after 2026-06-01T12:00:00Z until 2026-06-01T13:00:00Z (disabled)")


@given(conditions, conditions, circumstances)
def test_within_means_that_the_other_holds_wherever_this_does(
    one: Conditions, other: Conditions, here: Circumstances
) -> None:
    if one.within(other) and is_met(one, here):
        assert is_met(other, here)


def test_within_is_told_where_it_is_plain() -> None:
    narrow = when(["10.1.0.0/16"], NOON, NOON + HOUR)
    wide = when(["10.0.0.0/8", "192.0.2.0/24"], None, NOON + 2 * HOUR)
    assert narrow.within(wide)
    assert narrow.within(Conditions())
    assert not wide.within(narrow)
    assert not Conditions().within(narrow)
    assert not when(["2001:db8::/32"]).within(wide)


def test_a_network_is_read() -> None:
    assert str(parse_network("192.0.2.7")) == "192.0.2.7/32"

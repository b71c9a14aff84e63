"""How patterns stand to each other: within and overlap, against names that are tried."""

from itertools import chain, product
from unittest.mock import Mock

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from authserver.core import pattern_sets
from authserver.core.names import is_repository_name
from authserver.core.pattern_sets import overlap, within
from authserver.core.patterns import Pattern
from tests.unit.strategies import Covered, covered, covers, repository_names

WITHIN = [
    ("team/*", ["team/**"]),
    ("team/app", ["team/**"]),
    ("team/app", ["{account}/**", "team/*"]),
    ("team/app-*", ["team/*"]),
    ("a/*/b", ["a/**"]),
    ("a/**/b", ["a/**"]),
    ("a/**/b", ["**/b"]),
    ("a/**/**", ["a/**"]),
    ("a/**/**", ["a/*/**"]),
    ("a/*/**", ["a/**/*"]),
    ("app-*", ["app-*", "**"]),
    ("app-*", ["**"]),
    ("app-*-x", ["app-*", "other"]),
    ("*-a-*", ["*-*"]),
    ("**", ["*", "*/**"]),
    ("**", ["*", "*/*", "*/*/**"]),
    ("team/**", ["team/*", "team/*/**"]),
    ("a/*/b", ["a/b*/b", "a/*/*"]),
    ("{account}", ["*"]),
    ("{account}/**", ["**"]),
    ("{account}/**", ["{account}/*", "{account}/**/*"]),
    ("{account}/app", ["{account}/**"]),
    ("**/{account}", ["**/*"]),
    ("h:5000/*", ["*:*/**"]),
    ("Org/*", ["*/*"]),
]
NOT_WITHIN = [
    ("team/**", ["team/*"]),
    ("team/**", ["team/*", "team/*/*"]),
    ("team/**", ["team/**/**"]),
    ("teams/*", ["team/**"]),
    ("team", ["team/**"]),
    ("**", ["*/**"]),
    ("*", ["a*", "b*"]),
    ("app-*", ["app-*-*"]),
    ("a*", ["*a"]),
    ("team/*", []),
    ("{account}/**", ["alice/**"]),
    ("alice/**", ["{account}/**"]),
    ("*/app", ["{account}/app"]),
    ("{account}", ["a*"]),
]
OVERLAP = [
    ("team/*", "team/**"),
    ("team/*", "*/app"),
    ("a*", "*b"),
    ("a/**/c", "a/b/*"),
    ("**/b", "a/**"),
    ("{account}/**", "alice/app"),
    ("{account}/**", "a*/app"),
    ("x/{account}", "{account}/y"),
    ("{account}", "{account}"),
]
APART = [
    ("team/*", "team"),
    ("team/*", "team/*/*"),
    ("a*", "b*"),
    ("*a", "*b"),
    ("a/**/c", "a/c"),
    ("**/b", "a"),
    ("{account}/a", "{account}/b"),
    ("{account}", "a/b"),
]
# Each would cost more than all the rest together, if every state were followed.
HOSTILE = [
    ("a*" * 100, ["a*" * 50 + "*", "*b" * 100 + "*", "*c*" * 60]),
    ("a*" * 120, ["*a" * n + "b*" for n in range(1, 100)]),
    ("/".join(["**", "a*"] * 60), ["/".join(["**", "*a*"] * 61), "**/" + "*b" * 90]),
    ("*a" * 127, ["*b" * 60 + "*"]),
]

few = st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "**", "{account}"])
small = st.lists(few, min_size=1, max_size=3).map(lambda segments: Pattern("/".join(segments)))
# At most two segments and two patterns around: the names that are tried tell all differences.
tiny = st.lists(few, min_size=1, max_size=2).map(lambda segments: Pattern("/".join(segments)))
ACCOUNTS = (None, "a", "ab", "z", "a@b")
# One for each way in which a segment of those above can be covered or not.
_SEGMENTS = ("a", "b", "ab", "aab", "az", "zb", "z")
NAMES = [
    "/".join(segments)
    for segments in chain(
        product(_SEGMENTS),
        product(_SEGMENTS, repeat=2),
        product(_SEGMENTS, repeat=3),
        product(("a", "b", "z"), repeat=4),
    )
]


def patterns(texts: list[str]) -> list[Pattern]:
    return [Pattern(text) for text in texts]


@pytest.mark.parametrize(("inner", "outers"), WITHIN)
def test_what_a_person_sees_to_be_within_is(inner: str, outers: list[str]) -> None:
    assert within(Pattern(inner), patterns(outers))


@pytest.mark.parametrize(("inner", "outers"), NOT_WITHIN)
def test_what_reaches_beyond_is_not_within(inner: str, outers: list[str]) -> None:
    assert not within(Pattern(inner), patterns(outers))


@pytest.mark.parametrize(("one", "other"), OVERLAP)
def test_what_has_a_name_in_common_overlaps(one: str, other: str) -> None:
    assert overlap(Pattern(one), Pattern(other))
    assert overlap(Pattern(other), Pattern(one))


@pytest.mark.parametrize(("one", "other"), APART)
def test_what_has_no_name_in_common_is_told_apart(one: str, other: str) -> None:
    assert not overlap(Pattern(one), Pattern(other))
    assert not overlap(Pattern(other), Pattern(one))


def covered_by(pattern: Pattern, account: str | None) -> set[str]:
    return {name for name in NAMES if covers(pattern.text, name, account)}


@given(small, st.lists(small, max_size=3))
def test_no_name_escapes_what_is_within(inner: Pattern, outers: list[Pattern]) -> None:
    for account in ACCOUNTS if within(inner, outers) else ():
        around = set[str]().union(*(covered_by(outer, account) for outer in outers))
        assert covered_by(inner, account) <= around


@given(tiny, st.lists(tiny, max_size=2))
def test_what_reaches_beyond_has_a_name_that_shows_it(
    inner: Pattern, outers: list[Pattern]
) -> None:
    # That {account} is a part of a name is more than the characters of {account} say.
    assume("{account}" not in inner.text)
    escapes = [
        covered_by(inner, account)
        - set[str]().union(*(covered_by(outer, account) for outer in outers))
        for account in ACCOUNTS
    ]
    assert within(inner, outers) == (not any(escapes))


@given(tiny, tiny)
def test_overlap_is_told_by_the_names_in_both(one: Pattern, other: Pattern) -> None:
    together = any(covered_by(one, a) & covered_by(other, a) for a in ACCOUNTS)
    if "{account}" in one.text + other.text:
        assert overlap(one, other) or not together
    else:
        assert overlap(one, other) == together


@given(covered(), covered(), repository_names())
def test_names_that_the_grammar_accepts_bear_it_out(
    one: Covered, other: Covered, name: str
) -> None:
    inner, outer = Pattern(one.pattern), Pattern(other.pattern)
    for tried in (one.name, other.name, name):
        for account in (one.account, other.account):
            in_one, in_other = (covers(p.text, tried, account) for p in (inner, outer))
            assert not (within(inner, [outer]) and in_one and not in_other)
            assert overlap(inner, outer) or not (in_one and in_other)


@given(covered())
def test_a_name_is_within_the_pattern_that_was_made_from_it(drawn: Covered) -> None:
    assume("{account}" not in drawn.pattern)
    assert within(Pattern(drawn.name), [Pattern(drawn.pattern)])
    assert overlap(Pattern(drawn.name), Pattern(drawn.pattern))


@given(small, small, small)
def test_within_passes_on(one: Pattern, two: Pattern, three: Pattern) -> None:
    assert within(one, [one])
    if within(one, [two]) and within(two, [three]):
        assert within(one, [three])


@pytest.mark.parametrize(("inner", "outers"), HOSTILE)
def test_a_hostile_pattern_costs_a_bounded_number_of_steps(
    inner: str, outers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = 0
    step = pattern_sets._moves

    def counted(*arguments: object) -> object:
        nonlocal followed
        followed += 1
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pattern_sets, "_moves", counted)
    assert not within(Pattern(inner), patterns(outers))
    symbols = len(set(inner.join(outers))) + 2
    assert followed <= (pattern_sets.MAX_PLACES + sum(map(len, [inner, *outers]))) * symbols
    followed = 0
    assert isinstance(overlap(Pattern(inner), Pattern(outers[0])), bool)
    assert followed <= (2 * len(inner) * 2 * len(outers[0]) * 2) * symbols


def test_giving_up_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, outer = Pattern("team/**/app-*"), Pattern("team/**")
    assert within(inner, [outer])
    monkeypatch.setattr(pattern_sets, "MAX_PLACES", 3)
    assert not within(inner, [outer])


def test_the_names_that_are_tried_are_names() -> None:
    assert all(map(is_repository_name, NAMES))


def test_patterns_that_begin_differently_cost_no_automata(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Mock(side_effect=AssertionError)
    monkeypatch.setattr(pattern_sets, "_steps", steps)
    assert not overlap(Pattern("team/a/**"), Pattern("team/b/*/**"))
    with pytest.raises(AssertionError):
        overlap(Pattern("team/**"), Pattern("team/b"))

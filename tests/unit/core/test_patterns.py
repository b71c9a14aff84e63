"""Patterns over repository names."""

import re
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authserver.core.errors import Refused
from authserver.core.names import is_repository_name
from authserver.core.patterns import Pattern, repository_pattern
from tests.unit.strategies import COMPONENT, Covered, covered, covers, repository_names

MATCHES = {
    "team/a": ["team/a"],
    "team/*": ["team/a", "team/a-b"],
    "team/**": ["team/a", "team/a/b", "team/a/b/c"],
    "**": ["a", "a/b", "a/b/c", "h:5000/a", "Org/a"],
    "*": ["a", "app-1"],
    "app-*": ["app-1", "app-x", "app-x.y"],
    "*-app": ["x-app", "x-y-app"],
    "a*b*c": ["abc", "axbxc", "abbcc", "abcbc"],
    "a/**/b": ["a/x/b", "a/x/y/b", "a/b/b", "a/b/b/b"],
    "**/b": ["a/b", "a/a/b", "b/b"],
    "a/**/b/**/c": ["a/x/b/x/c", "a/b/b/b/c", "a/b/x/b/x/c/c"],
    "**/**": ["a/b", "a/b/c"],
    "*/**": ["a/b", "a/b/c"],
    "*:*/x": ["h:5000/x"],
    "h:5000/**": ["h:5000/x", "h:5000/x/y"],
    "Org/*": ["Org/app"],
    "a.b": ["a.b"],
}
MISSES = {
    "team/a": ["team", "team/a/b", "team/ab", "xteam/a", "team/A"],
    "team/*": ["team", "team/a/b", "teamx/a", "x/team/a"],
    "team/**": ["team", "teamx/a", "xteam/a", "x/team/a"],
    "*": ["a/b"],
    "app-*": ["app", "xapp-1", "app-1/x"],
    "*-app": ["app", "x-apps", "x/y-app"],
    "a*b*c": ["ac", "acb", "abcd", "xabc"],
    "a/**/b": ["a/b", "a/x", "a/x/b/c", "x/b"],
    "**/b": ["b", "a/c", "a/b/c"],
    "a/**/b/**/c": ["a/b/c", "a/x/b/c", "a/b/x/c"],
    "**/**": ["a"],
    "h:5000/**": ["h:5001/x", "h/x"],
    "Org/*": ["org/app", "Org/app/x"],
    "a.b": ["axb", "a/b"],
}


@pytest.mark.parametrize(("pattern", "name"), [(p, n) for p in MATCHES for n in MATCHES[p]])
def test_a_pattern_covers(pattern: str, name: str) -> None:
    assert repository_pattern(pattern).matches(name, None)


@pytest.mark.parametrize(("pattern", "name"), [(p, n) for p in MISSES for n in MISSES[p]])
def test_a_pattern_does_not_cover(pattern: str, name: str) -> None:
    assert not repository_pattern(pattern).matches(name, None)


@pytest.mark.parametrize(
    ("pattern", "name", "account", "expected"),
    [
        ("{account}", "alice", "alice", True),
        ("{account}/*", "alice/x", "alice", True),
        ("{account}/**", "alice/x/y", "alice", True),
        ("u/{account}/*", "u/alice/x", "alice", True),
        ("{account}/{account}", "alice/alice", "alice", True),
        ("{account}/**", "bob/x", "alice", False),
        ("{account}/{account}", "alice/bob", "alice", False),
        ("{account}/*", "alicex/x", "alice", False),
        ("{account}/*", "alice/x/y", "alice", False),
        # A name that is no path component has no place of its own: also none that looks like it.
        ("{account}/**", "alice/x", "alice@x", False),
        ("{account}/**", "alice@x/x", "alice@x", False),
        ("{account}/**", "m/x", "müller", False),
        ("{account}/**", "Alice/x", "Alice", False),
        ("{account}/**", "a..b/x", "a..b", False),
        # Literally: no character of an account's name is a wild card.
        ("{account}/x", "a-b/x", "a.b", False),
        ("{account}/x", "x/x", "*", False),
        ("{account}/x", "x/x", "**", False),
        ("{account}/x", "{account}/x", None, False),
        ("{account}/x", "None/x", None, False),
        ("{account}/x", "x/x", None, False),
        ("{account}", "", "", False),
    ],
)
def test_account_stands_for_the_asking_account(
    pattern: str, name: str, account: str | None, expected: bool
) -> None:
    assert repository_pattern(pattern).matches(name, account) is expected


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "is empty"),
        ("/", "empty segment"),
        ("/a", "empty segment"),
        ("a/", "empty segment"),
        ("a//b", "empty segment"),
        ("a**", "whole segment"),
        ("**a", "whole segment"),
        ("a/b**/c", "whole segment"),
        ("***", "whole segment"),
        ("x{account}", "whole segment"),
        ("{account}*", "whole segment"),
        ("{user}/x", "unknown placeholder"),
        ("{Account}", "unknown placeholder"),
        ("{}", "unknown placeholder"),
        ("a}", "unknown placeholder"),
        ("a?", "no regular expressions"),
        ("[ab]", "no regular expressions"),
        ("(a|b)", "no regular expressions"),
        ("^a$", "no regular expressions"),
        ("a b", "no repository name has"),
        ("a\n", "no repository name has"),
        ("a,b", "no repository name has"),
        ("müller/x", "no repository name has"),
        ("A", "no valid repository name"),
        ("a/B", "no valid repository name"),
        ("**/B", "no valid repository name"),
        ("A*", "no valid repository name"),
        ("a..b", "no valid repository name"),
        ("..", "no valid repository name"),
        ("../*", "no valid repository name"),
        ("a-", "no valid repository name"),
        ("_*", "no valid repository name"),
        ("*___*", "no valid repository name"),
        ("*..*", "no valid repository name"),
        ("h:5000", "no valid repository name"),
        ("*:*", "no valid repository name"),
        ("h:/x", "no valid repository name"),
        ("h:x/x", "no valid repository name"),
        ("a/h:5000/x", "no valid repository name"),
        ("{account}/h:5000/x", "no valid repository name"),
        ("a" * 256, "no valid repository name"),
        ("*/" + "a" * 254, "no valid repository name"),
        ("**/" + "a" * 254, "no valid repository name"),
    ],
)
def test_a_pattern_that_is_of_no_use_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        repository_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["a" * 255, "**/" + "a" * 253, "*" + "a" * 255, "*a" * 128, "{account}/" + "a" * 253]
)
def test_a_long_pattern_that_some_name_is_short_enough_for_is_accepted(pattern: str) -> None:
    assert str(repository_pattern(pattern)) == pattern


pattern_texts = st.lists(
    st.sampled_from(["*", "**", "{account}", "a", "b"]) | st.from_regex(r"([ab]|\*(?!\*)){1,5}\Z"),
    min_size=1,
    max_size=5,
).map("/".join)
name_texts = st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=6).map("/".join)


@given(pattern_texts, name_texts, st.sampled_from([None, "a", "ab", "A", "a@b"]))
@example("a/**/b/*/**/b", "a/b/b/a/b/b", None)
def test_matching_agrees_with_a_regular_expression(
    pattern: str, name: str, account: str | None
) -> None:
    assert Pattern(pattern).matches(name, account) == covers(pattern, name, account)


@given(covered())
def test_a_pattern_made_from_a_name_is_accepted_and_covers_it(made: Covered) -> None:
    assert repository_pattern(made.pattern).matches(made.name, made.account)


def test_every_short_pattern_that_is_accepted_covers_a_valid_name() -> None:
    accepted = [text for text in _texts("aA.-_:/*", 5) if _accepted(text)]
    assert len(accepted) > 500
    assert [text for text in accepted if not _covers_something(text)] == []


def test_no_short_pattern_that_covers_a_valid_name_is_refused() -> None:
    names = "\n".join(name for name in _texts("aA0-:/", 6) if is_repository_name(name))
    refused = [text for text in _texts("aA0-:/*", 4) if not _accepted(text)]
    assert len(refused) > 500
    assert [text for text in refused if _is_word(text) and _covers_one_of(text, names)] == []


def _texts(alphabet: str, longest: int) -> list[str]:
    return ["".join(t) for n in range(1, longest + 1) for t in product(alphabet, repeat=n)]


def _accepted(text: str) -> bool:
    try:
        return str(repository_pattern(text)) == text
    except Refused:
        return False


def _covers_something(pattern: str) -> bool:
    whole = pattern.replace("**", "a/a")
    for fill in product(("", "a", "0", "a0"), repeat=whole.count("*")):
        name = whole.replace("*", "{}").format(*fill)
        if is_repository_name(name) and Pattern(pattern).matches(name, None):
            return True
    return False


def _is_word(pattern: str) -> bool:
    """Whether each ``**`` is a whole segment: another one is refused for how it is written."""
    return all("**" not in segment or segment == "**" for segment in pattern.split("/"))


def _covers_one_of(pattern: str, names: str) -> bool:
    expression = re.escape(pattern).replace(r"\*\*", "[^/\n]+(/[^/\n]+)*").replace(r"\*", "[^/\n]*")
    return re.search(f"^{expression}$", names, re.MULTILINE) is not None


@given(repository_names())
def test_a_name_is_a_pattern_that_covers_itself_only(name: str) -> None:
    pattern = repository_pattern(name)
    assert pattern.matches(name, None)
    assert not pattern.matches(f"{name}0", None)
    assert not pattern.matches(f"{name}/0", None)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*a" * 120 + "b", "a" * 255),
        ("a*" * 120 + "b", "a" * 255),
        ("**/a/" * 40 + "b", "a/" * 127 + "a"),
        ("**/" * 80 + "b", "a/" * 127 + "a"),
        ("*/**/" * 40 + "b", "a/" * 127 + "a"),
        ("**/*a*a*b/" * 25 + "c", "aaaaaaa/" * 31 + "a"),
    ],
)
def test_a_hostile_pattern_and_name_come_to_an_end(pattern: str, name: str) -> None:
    # One that tries every way to spread the wild cards never does.
    assert not Pattern(pattern).matches(name, None)


def test_the_component_of_these_tests_is_the_grammars() -> None:
    assert re.fullmatch(COMPONENT, "a-b__c")


@pytest.mark.parametrize("text", ["a-*/" + "b" * 251 + "*", "*" + "b" * 255, "b" * 254 + "*"])
def test_a_pattern_that_matches_only_the_longest_names_is_taken(text: str) -> None:
    repository_pattern(text)


@pytest.mark.parametrize("text", ["a-*/" + "b" * 252 + "*", "*" + "b" * 256, "-*" + "b" * 253])
def test_a_pattern_that_matches_only_longer_names_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        repository_pattern(text)

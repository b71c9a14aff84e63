"""The scope grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.core.patterns import PATTERN_MAX
from authserver.core.scope import MalformedScope, Scope, merge, parse, split

names = st.text(min_size=1, max_size=PATTERN_MAX)
actions = st.lists(st.text().filter(lambda a: ":" not in a and "," not in a), min_size=1).map(
    lambda drawn: tuple(dict.fromkeys(drawn))
)
words = st.from_regex(r"[a-z0-9]+", fullmatch=True)
any_scope = st.builds(Scope, words, names, actions, st.none() | words)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("repository:a:pull", Scope("repository", "a", ("pull",))),
        ("repository:a/b/c:pull,push", Scope("repository", "a/b/c", ("pull", "push"))),
        ("repository:a:push,pull", Scope("repository", "a", ("push", "pull"))),
        ("repository:h:5000/a:pull", Scope("repository", "h:5000/a", ("pull",))),
        ("repository:h:5000/a:b:pull", Scope("repository", "h:5000/a:b", ("pull",))),
        ("repository(plugin):a:pull", Scope("repository", "a", ("pull",), "plugin")),
        ("repository(p2):h:1/a:pull", Scope("repository", "h:1/a", ("pull",), "p2")),
        ("registry:catalog:*", Scope("registry", "catalog", ("*",))),
        ("repository:a:pull,pull,push,pull", Scope("repository", "a", ("pull", "push"))),
        ("repository:a:", Scope("repository", "a", ("",))),
        ("repository:a:pull,,push", Scope("repository", "a", ("pull", "", "push"))),
        ("repository:a:fly", Scope("repository", "a", ("fly",))),
        ("7:a:PULL", Scope("7", "a", ("PULL",))),
        ("repository:::pull", Scope("repository", ":", ("pull",))),
        ("repository:A//..:pull", Scope("repository", "A//..", ("pull",))),
        ("repository:a\tb:pull", Scope("repository", "a\tb", ("pull",))),
    ],
)
def test_a_scope_is_type_name_and_actions(text: str, scope: Scope) -> None:
    assert parse(text) == scope


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "::",
        "repository",
        "repository:a",
        "repository::pull",
        ":a:pull",
        "Repository:a:pull",
        "re-pository:a:pull",
        " repository:a:pull",
        "repository\n:a:pull",
        "repository():a:pull",
        "repository(Plugin):a:pull",
        "repository(a)(b):a:pull",
        "repository(plugin:a:pull",
        "(plugin):a:pull",
        "repositorÿ:a:pull",
        "²:a:pull",
    ],
)
def test_what_lacks_a_part_or_has_no_type_is_malformed(text: str) -> None:
    with pytest.raises(MalformedScope, match="malformed scope"):
        parse(text)


@given(any_scope)
def test_a_scope_that_is_written_and_read_is_the_same(scope: Scope) -> None:
    assert parse(str(scope)) == scope


@given(st.text())
def test_what_can_be_read_is_written_as_it_was(text: str) -> None:
    try:
        scope = parse(text)
    except MalformedScope:
        return
    assert parse(str(scope)) == scope
    assert text.startswith(str(scope).rpartition(":")[0] + ":")


@pytest.mark.parametrize(
    ("values", "scopes"),
    [
        ([], []),
        ([""], []),
        (["a"], ["a"]),
        (["a b"], ["a", "b"]),
        (["a", "b c"], ["a", "b", "c"]),
        ([" a  b ", ""], ["a", "b"]),
        (["a", "a"], ["a", "a"]),
        (["a\tb"], ["a\tb"]),
        (["a\nb"], ["a\nb"]),
        (["a\u00a0b"], ["a\u00a0b"]),
        (["a\u2003b"], ["a\u2003b"]),
        (["a\x1fb\x0bc"], ["a\x1fb\x0bc"]),
        (["a,b+c"], ["a,b+c"]),
    ],
)
def test_only_the_space_separates_scopes(values: list[str], scopes: list[str]) -> None:
    assert split(values) == scopes


def merged(*texts: str) -> list[str]:
    return [str(scope) for scope in merge(map(parse, texts))]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], []),
        (["repository:a:pull"], ["repository:a:pull"]),
        (["repository:a:pull", "repository:a:push"], ["repository:a:pull,push"]),
        (["repository:a:push,pull", "repository:a:pull"], ["repository:a:push,pull"]),
        (["repository:b:pull", "repository:a:pull"], ["repository:b:pull", "repository:a:pull"]),
        (
            ["repository:a:pull", "repository:b:pull", "repository:a:delete"],
            ["repository:a:pull,delete", "repository:b:pull"],
        ),
        (["repository(plugin):a:pull", "repository:a:push"], ["repository:a:pull,push"]),
        (["repository(plugin):a:pull"], ["repository:a:pull"]),
        (["repository:catalog:*", "registry:catalog:*"], None),
        (["repository:a:pull", "repository:A:pull"], None),
        (["repository:a:pull", "repository:a/:pull"], None),
    ],
)
def test_scopes_of_one_resource_become_one(texts: list[str], expected: list[str] | None) -> None:
    assert merged(*texts) == (texts if expected is None else expected)


@given(st.lists(any_scope, max_size=5))
def test_merging_loses_and_adds_nothing(scopes: list[Scope]) -> None:
    def asked(given_scopes: list[Scope]) -> set[tuple[str, str, str]]:
        return {(s.type, s.name, action) for s in given_scopes for action in s.actions}

    once = merge(scopes)
    assert asked(once) == asked(scopes)
    assert len({(s.type, s.name) for s in once}) == len(once)
    assert merge(once) == once

"""docker_auth's configuration and semantics: reading, globs, regular expressions, evaluating."""

import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.core.errors import Refused
from authserver.core.names import is_repository_name
from authserver.importers.docker_auth import matchers, name_patterns
from authserver.importers.docker_auth.config import AclEntry, Config, Match, read
from authserver.importers.docker_auth.evaluate import (
    AclRequest,
    entry_network,
    matches,
    matches_text,
    outcomes,
)
from tests.unit.strategies import covers, repository_names

ALL = frozenset({"pull", "push", "delete", "*"})


def config(text: str) -> Config:
    return read(text.encode(), "config.yml")


# Reading.

WHOLE = """\
server: {addr: ":5001", real_ip_header: X-Forwarded-For}
token: {issuer: "Acme auth server", expiration: 900}
users:
  alice: {password: "$2y$hash", labels: {group: [dev]}}
  "": {}
  bob:
ldap_auth: {addr: x}
acl:
  - match: {account: 7, name: "a/*", ip: "10.0.0.0/8", service:}
    actions: ["pull", push]
    comment: why
  - match: {team: x, labels: {group: dev}}
    actions: []
mistake: 1
"""


def test_a_configuration_is_read_with_its_lines() -> None:
    found = config(WHOLE)
    assert [(u.line, u.name, u.usable, u.labels) for u in found.users] == [
        (4, "alice", True, True),
        (5, "", True, False),
        (6, "bob", False, False),
    ]
    first, second = found.entries
    assert first == AclEntry(
        9, Match(account="7", name="a/*", ip="10.0.0.0/8"), ("pull", "push"), "why"
    )
    assert (second.line, second.match.labels, second.match.ignored) == (12, ("group",), ("team",))
    assert found.anonymous
    assert (found.unknown, found.sections["ldap_auth"]) == ({"mistake": 14}, 7)
    assert found.token["issuer"] == "Acme auth server"


def test_a_hash_is_not_in_what_is_printed() -> None:
    assert "$2y$hash" not in repr(config(WHOLE))


@pytest.mark.parametrize(
    "users", ["", 'users: {"": }', 'users: {"": {password: x}}', "users: {a: {}}"]
)
def test_anonymous_is_let_in_only_by_a_user_without_name_and_password(users: str) -> None:
    assert not config(f"{users}\nacl: []").anonymous


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "config.yml: the file is empty"),
        ("a: [", "config.yml:1: not readable as YAML"),
        ("a: 1\n b: 2", "config.yml:2: not readable as YAML"),
        ("\0", "not readable as YAML"),
        ("[" * 3000, "nested too deeply"),
        ("- a", "config.yml:1: the configuration should be a mapping"),
        ("acl: {}", "config.yml:1: acl should be a list"),
        ("acl:\n- x", "config.yml:2: an entry of acl should be a mapping"),
        ("acl:\n- actions: []", "config.yml:2: an entry of acl has no match"),
        ("acl:\n- match: {}", "config.yml:2: an entry of acl has no actions"),
        ("acl:\n- {match: {}, actions: }", "has no actions"),
        ("acl:\n- {match: {}, actions: pull}", "actions should be a list"),
        ("acl:\n- {match: {}, actions: [[pull]]}", "a word is expected"),
        ("acl:\n- match:\n    name: [a]\n  actions: []", "config.yml:3: name should be one text"),
        ("users:\n  a: {}\n  a: {}", "config.yml:3: 'a' is there twice, first in line 2"),
        ("a: &x {b: 1}\nacl:\n- <<: *x", "config.yml:3: merge keys"),
        ("users:\n- alice", "config.yml:2: users should be a mapping"),
    ],
)
def test_configurations_that_docker_auth_rejects_are_refused(text: str, why: str) -> None:
    with pytest.raises(Refused) as refused:
        config(text)
    assert why in str(refused.value)


# Globs. The cases are Go's own (src/path/match_test.go), a malformed pattern matching nothing.


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*", "abc", True),
        ("a*", "ab/c", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", False),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^b-d]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("a[^a]b", "a☺b", True),
        ("a???b", "a☺b", False),
        ("a[^a][^a][^a]b", "a☺b", False),
        ("[a-ζ]*", "β", True),
        ("*[a-ζ]", "A", False),
        ("a?b", "a/b", False),
        ("a*b", "a/b", False),
        ("[\\]a]", "]", True),
        ("[\\-]", "-", True),
        ("[x\\-]", "x", True),
        ("[x\\-]", "-", True),
        ("[x\\-]", "z", False),
        ("[\\-x]", "x", True),
        ("[\\-x]", "a", False),
        ("[]a]", "]", False),
        ("[-]", "-", False),
        ("[x-]", "x", False),
        ("[-x]", "x", False),
        ("\\", "a", False),
        ("[a-b-c]", "a", False),
        ("[", "a", False),
        ("[^", "a", False),
        ("[^bc", "a", False),
        ("a[", "a", False),
        ("a[", "ab", False),
        ("a[", "x", False),
        ("a/b[", "x", False),
        ("*x", "xxx", True),
        # A class may match a slash, and what a star took is not taken back.
        ("a[^b]c", "a/c", True),
        ("*[^a]*b", "x/yb", False),
        ("**", "a/b", False),
        ("a/**", "a/b", True),
        ("a/**", "a/b/c", False),
        ("", "", True),
        ("*", "", True),
        ("?*", "", False),
    ],
)
def test_a_glob_matches_as_in_go(pattern: str, name: str, expected: bool) -> None:
    assert matchers.glob_matches(pattern, name) is expected


# Evaluating. The cases are docker_auth's own (auth_server/authz/acl_test.go at c67e175), but for
# those on labels and captured groups, of which we say that they are not known.


def request(
    account: str = "foo",
    kind: str = "bar",
    name: str = "baz",
    service: str = "notary",
    address: str = "127.0.0.1",
) -> AclRequest:
    return AclRequest(account, kind, name, service, ip_address(address))


@pytest.mark.parametrize(
    ("match", "asked", "expected"),
    [
        (Match(), request(), True),
        (Match(account="foo"), request(), True),
        (Match(account="foo", type="bar"), request(), True),
        (Match(account="foo", type="baz"), request(), False),
        (Match(account="fo?", type="b*", name="/z$/"), request(), True),
        (Match(account="fo?", type="b*", name="/^z/"), request(), False),
        (Match(name="${account}"), request("foo", name="foo"), True),
        (Match(name="/${account}_.*/"), request("foo", name="foo_x"), True),
        (Match(name="/${account}_.*/"), request(".*", name="foo_x"), False),
        (Match(account=r"/^(.+)@test\.com$/", name="${account:1}/*"), request("j@test.com"), None),
        (Match(account=r"/^(.+)@test\.com$/", name="${account:1}/*"), request("j@test.org"), False),
        (Match(service="notary", type="bar"), request(), True),
        (Match(service="notary", type="baz"), request(), False),
        (Match(service="notary1", type="bar"), request(), False),
        (Match(ip="127.0.0.1"), request(), True),
        (Match(ip="127.0.0.1"), request(address="127.0.0.2"), False),
        (Match(ip="127.0.0.2"), request(), False),
        (Match(ip="127.0.0.0/8"), request(), True),
        (Match(ip="127.9.9.9/8"), request(), True),
        (Match(ip="2001:db8::1"), request(address="2001:db8::1"), True),
        (Match(ip="2001:db8::1"), request(address="2001:db8::2"), False),
        (Match(ip="2001:db8::/48"), request(address="2001:db8::2"), True),
        (Match(ip="0.0.0.0/0"), request(address="::1"), False),
        (Match(ip="nowhere"), request(), None),
        (Match(labels=("group",)), request(), None),
        (Match(labels=("group",), name="x"), request(), False),
        (Match(name="${labels:group}/*"), request(), None),
        (Match(account=""), request(""), True),
        (Match(account=""), request(), False),
        (Match(account="/.+/"), request(""), False),
        (Match(account="*"), request(""), True),
        (Match(name="//"), request(name="a"), False),
    ],
)
def test_an_entry_matches_as_in_docker_auth(
    match: Match, asked: AclRequest, expected: bool | None
) -> None:
    assert matches(AclEntry(1, match, ("*",)), asked) is expected


def test_the_first_match_counts() -> None:
    entries = [
        AclEntry(1, Match(account="bob"), ("*",)),
        AclEntry(2, Match(name="baz"), ("pull", "fly")),
        AclEntry(3, Match(), ("*",)),
    ]
    (found,) = outcomes(entries, request(), ALL)
    assert (found.granted, found.entry) == (frozenset({"pull"}), entries[1])
    (found,) = outcomes(entries[:1], request(), ALL)
    assert (found.granted, found.entry) == (frozenset(), None)


def test_an_uncertain_match_follows_both_ways() -> None:
    entries = [AclEntry(1, Match(labels=("group",)), ()), AclEntry(2, Match(), ("*",))]
    assert [found.granted for found in outcomes(entries, request(), ALL)] == [frozenset(), ALL]


@pytest.mark.parametrize(
    "text", ["x", "10.0.0.*", "10.0.0.1/100", "10.0.0.0/255.0.0.0", "::ffff:10.0.0.1"]
)
def test_an_invalid_network_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"neither an address|not a network|IPv4 written as IPv6"):
        entry_network(text)


# Regular expressions.


@pytest.mark.parametrize(
    "expression",
    [
        "(?i)a", "(?P<x>a)", r"\pL", r"\x41", "[[:alpha:]]", "a{,2}", "a++", "(a+)+", "(a|b*)*",
        "a**",
        "[a&&b]", r"a\z", "*a", "(*a)", "(a", "a)", "[a",
    ],
)  # fmt: skip
def test_an_expression_that_go_may_read_differently_is_uncertain(expression: str) -> None:
    assert matchers.compiled(expression) is None
    assert matches_text(f"/{expression}/", "a") is None


def test_a_dollar_matches_only_the_end() -> None:
    assert matches_text("/^a$/", "a\n") is False


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (None, "**"),
        ("team/app", "team/app"),
        ("team/*", "team/*"),
        ("team/**", "team/*"),
        ("**", "*"),
        ("app-*", "app-*"),
        (r"team\/app", "team/app"),
        ("${account}/*", "{account}/*"),
        ("a/${account}", "a/{account}"),
        ("/.*/", "**"),
        ("/^.+$/", "**"),
        ("/^team/", "team* team*/**"),
        ("/^team//", "team/**"),
        (r"/^team\/.*$/", "team/**"),
        ("/^team/.+/", "team/**"),
        ("/^team/[^/]+$/", "team/*"),
        ("/^(a|b)/.*$/", "a/** b/**"),
        ("/^(?:a|b)$/", "a b"),
        ("/^test-.*$/", "test-* test-*/**"),
        ("/^.*/app$/", "**/app"),
        ("/app/", "*app* *app*/** **/*app* **/*app*/**"),
        ("/^a.*b$/", "a*b a*/*b a*/**/*b"),
        ("/^a/.*/b$/", "a/**/b"),
        ("/^${account}/.*$/", "{account}/**"),
        # Nothing that a registry accepts.
        ("", ""),
        ("team/", ""),
        ("a/B", ""),
        ("a/{account}", ""),
        (r"a\*", ""),
        (r"/^a\*$/", ""),
    ],
)
def test_a_condition_on_names_is_a_pattern(condition: str | None, expected: str) -> None:
    found = name_patterns.patterns(condition)
    assert found is not None
    assert " ".join(pattern.text for pattern in found) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "a?", "[ab]", "${account}-*", "${name}", "${account:1}/*", "${labels:x}/*", "/^a+$/",
        "/^a|b$/", "/^team.+$/", "/^a.b$/", "/^[ab]$/", "/^(a|b)*$/", "/^((a)$/",
        "/^x${account}/.*/",
        "a\\",
        "/^a[^/]+$/", "a" * 256,
    ],
)  # fmt: skip
def test_other_conditions_have_no_pattern(condition: str) -> None:
    assert name_patterns.patterns(condition) is None


_letters = ["a", "b", "team", "x1", "-", "/", "/", "*", "${account}"]
_expressions = [*_letters, ".*", ".+", "[^/]*", "[^/]+", "(a|b)", r"\.", r"\/", "(?:team/a|x1)"]
_globs = st.lists(st.sampled_from(_letters), max_size=6).map("".join)
_regexps = st.tuples(
    st.sampled_from(["", "^"]),
    st.lists(st.sampled_from(_expressions), min_size=1, max_size=6).map("".join),
    st.sampled_from(["", "$"]),
).map(lambda parts: f"/{''.join(parts)}/")
_near = st.lists(st.sampled_from(["a", "b", "team", "x1", "ab", "-", "/"]), min_size=1, max_size=6)
_names = repository_names() | _near.map("".join).filter(is_repository_name)


@given(condition=_globs | _regexps, name=_names, account=st.sampled_from(["a", "team"]))
def test_patterns_match_what_the_condition_matches(condition: str, name: str, account: str) -> None:
    found = name_patterns.patterns(condition)
    asked = AclRequest(account, "repository", name, "r", ip_address("::1"))
    theirs = matches_text(condition, name, asked)
    if found is not None and theirs is not None:
        assert any(covers(pattern.text, name, account) for pattern in found) is theirs


_atoms = st.sampled_from(
    ["a", "b", "-", "/", ".", r"\d", "[ab]", "[^a/]", "(a|b)", "(?:ab|)", r"\b"]
)
_repeats = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"])
_pieces = st.lists(st.tuples(_atoms, _repeats).map("".join), min_size=1, max_size=5).map("".join)


@given(
    expression=st.tuples(st.sampled_from(["", "^"]), _pieces, st.sampled_from(["", "$", "|b"])),
    text=st.text("ab-/1\n", max_size=6),
)
def test_all_ways_at_once_come_to_what_one_after_the_other_do(
    expression: tuple[str, str, str], text: str
) -> None:
    written = "".join(expression)
    compiled = matchers.compiled(written)
    if compiled is not None:
        python = re.compile(written.replace("$", r"\Z"), re.ASCII)
        assert compiled.search(text) is (python.search(text) is not None)


def test_aliases_that_repeat_too_much_are_refused() -> None:
    words = ", ".join(["pull"] * 100)
    with pytest.raises(Refused, match="aliases"):
        config(f"x: &x [{words}]\nacl:\n" + "- {match: {}, actions: *x}\n" * 100)


def test_an_alias_is_read() -> None:
    found = config("x: &x [pull]\nacl:\n- {match: {}, actions: *x}\n- {match: {}, actions: *x}\n")
    assert [entry.actions for entry in found.entries] == [("pull",), ("pull",)]

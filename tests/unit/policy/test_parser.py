"""Policy files: what is read, what is refused and where, and what is written."""

import json
import re
import tracemalloc
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from authserver.core.errors import Refused
from authserver.core.names import account_name
from authserver.core.subjects import AccountKind
from authserver.policy.files import assertions, export, parser, schema, yaml_values
from authserver.policy.files.document import AccountEntry, BadPolicy, Policy

ROOT = Path(__file__).parents[3]

RULE = "effect: allow, subjects: [everyone], patterns: [a], actions: [pull]"

WHOLE = """\
registries:
  hub: {}
  registry:
    token_ttl: 600
    refresh_tokens: false
    app_tokens_only: true
    challenge_anonymous: true

accounts:
  alice:
    kind: user
    admin: true
  bob:
    kind: user
    disabled: true
    app_tokens_only: true
  ci:
    kind: robot
    owner: alice
    description: "builds: the images"
    outlives_owner: true

groups:
  dev: [robot:ci, user:alice]
  ops: []

rules:
  - effect: allow
    subjects: [user:alice]
    patterns: [catalog]
    actions: [all]
    type: registry
  - effect: allow
    subjects: [group:dev, user:bob]
    patterns: ["**", team/**]
    actions: [pull, push]
    networks: [10.0.0.0/8, "2001:db8::/32"]
    valid_from: "2026-01-01T00:00:00Z"
    valid_until: "2027-01-01T00:00:00Z"
    enabled: false
    comment: "why: # not"
  - effect: deny
    subjects: [everyone]
    patterns: ["{account}/x"]
    actions: [pull, push]
    registry: registry

delegations:
  - group: dev
    registry: registry
    pattern: pay/**
    actions: [pull]
    comment: theirs

tests:
  - "alice can push team/app"
"""


def read(text: str | bytes) -> Policy:
    return parser.read(text.encode() if isinstance(text, str) else text, "p.yaml")


def refused(text: str | bytes) -> list[str]:
    """Return what is wrong with a file, as ``line: text``."""
    with pytest.raises(BadPolicy) as caught:
        read(text)
    assert str(caught.value).startswith("p.yaml:")
    return [f"{problem.line}: {problem.text}" for problem in caught.value.problems]


def test_a_file_comes_back_as_it_was_written() -> None:
    assert export.export(read(WHOLE)) == WHOLE


def test_what_is_written_says_the_same_to_other_programs() -> None:
    assert yaml.safe_load(WHOLE) == export.plain(read(WHOLE))
    assert read(json.dumps(export.plain(read(WHOLE)))) == read(WHOLE)


def test_order_quotes_and_comments_are_the_authors() -> None:
    said = read("""# ours
rules:   # in any order
- {actions: ["push"], patterns: ['b', "a"], subjects: [user:bob, 'group:dev'], effect: "deny"}
""")
    assert said.rules is not None
    assert str(said.rules[0].rule) == "deny group:dev,user:bob a,b push on every registry"
    assert said.rules[0].location.line == 3


@pytest.mark.parametrize(
    "name", ["no", "on", "yes", "y", "true", "null", "~", "1e3", "0x1F", "1_000", "012", "1.5",
             "2026-01-01", "12:30:45".replace(":", "."), ".inf", "=", "<<".replace("<", "-"), "é"]
)  # fmt: skip
def test_names_stay_what_the_author_wrote(name: str) -> None:
    said = read(f"accounts:\n  {name}: {{kind: user}}\ngroups:\n  {name}: [user:{name}]\n")
    assert list(said.accounts or ()) == list(said.groups or ()) == [name]
    assert yaml.safe_load(export.export(said))["accounts"] == {name: {"kind": "user"}}
    assert read(export.export(said)) == said


def _is_name(text: str) -> bool:
    try:
        return account_name(text) == text
    except Refused:
        return False


@given(st.text(min_size=1, max_size=12).filter(_is_name), st.text(max_size=30))
@example("a", "\x85\u2028\x7f\ud7ff\t\n")
@example("-", "- a: b")
def test_any_text_survives(name: str, description: str) -> None:
    account = AccountEntry(name, AccountKind.ROBOT, description=description, owner="o")
    text = export.export(Policy("p.yaml", accounts={name: account}))
    plain = {"accounts": {name: dict(export.account(account)[1])}}
    assert yaml.safe_load(text) == plain
    if description.isprintable():
        assert read(text) == Policy("p.yaml", accounts={name: account})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1: a policy is a mapping"),
        ("- a", "1: a policy is a mapping"),
        ("rule: []", "1: unknown key 'rule'; is rules meant?"),
        ("problems: []", "1: unknown key 'problems'"),
        (f"rules:\n- {{{RULE}, actions: [pull]}}", "2: actions is there already, on line 2"),
        (f"rules:\n- {{{RULE}, comment: }}", "2: comment has no value: leave the key out"),
        (f"rules:\n- {{{RULE}, valid_from: noon}}", "2: valid_from: 'noon' is no time"),
        ("rules:\n- {effect: allow, subjects: []}", "2: subjects is empty"),
        ("groups:\n  \u00e9: []\n  e\u0301: []", "3: \u00e9 is there already"),
        ("rules: []\nrules: []", "2: rules is there already, on line 1"),
        ("rules:", "1: rules is a list; write [] for none"),
        ("accounts:", "1: accounts is a mapping from names; write {} for none"),
        ("groups:\n  dev:", "2: dev is a list; write [] for none"),
        ("accounts:\n  a: {kind: user}\n  a: {kind: user}", "3: a is there already, on line 2"),
        ("accounts:\n  a: {kind: user}\n  A: {kind: user}", "3: A is there already, as a on"),
        ("groups:\n  a: []\n  A: []", "3: A is there already, as a on line 2"),
        ("registries:\n  a:\n  a:", "3: a is there already, on line 2"),
        ("accounts:\n  a: {kind: bot}", "2: kind: 'bot' is not 'user' or 'robot'"),
        ("accounts:\n  a: {}", "2: kind is missing"),
        ("accounts:\n  a b: {kind: user}", "2: the name 'a b' contains"),
        ("accounts:\n  a: {kind: user, admin: yes}", "2: admin is true or false, not 'yes'"),
        ("accounts:\n  a: {kind: user, admin: 'true'}", "2: admin is true or false, not 'true'"),
        ("accounts:\n  a: {kind: user, owner: b}", "2: a user has no owner"),
        ("accounts:\n  a: {kind: robot, admin: true}", "2: a robot has no admin"),
        (
            "accounts:\n  a: {kind: robot, app_tokens_only: true}",
            "2: a robot has no app_tokens_only",
        ),
        ("accounts:\n  a: {kind: robot, owner: }", "2: owner has no value"),
        ("accounts:\n  a: {kind: user, password: x}", "2: unknown key 'password'"),
        ("registries:\n  r: {token_ttl: 59}", "2: token_ttl is 60 to 86400 seconds, not 59"),
        ("registries:\n  r: {token_ttl: 1e3}", "2: token_ttl is a whole number of seconds"),
        ("registries:\n  r: {token_ttl: '600'}", "2: token_ttl is a whole number of seconds"),
        ("groups:\n  g: [a]", "2: unknown subject 'a'"),
        ("groups:\n  g: [group:a]", "2: a member is user:NAME or robot:NAME, not group:a"),
        ("groups:\n  g:\n  - user:a\n  - user:a", "4: user:a is in g already, on line 3"),
        (f"rules:\n- {{{RULE}}}\n- {{{RULE}, enabled: false}}", "3: the rule on line 2 says the"),
        (f"rules:\n- {{{RULE}, valid_until: 2026-13-01}}", "2: valid_until: '2026-13-01' is no"),
        (f"rules:\n- {{{RULE}, valid_until: '2026-12-01 12:00'}}", "2: valid_until: '2026-12-0"),
        (f"rules:\n- {{{RULE}, networks: [0.0.0.0/0]}}", "2: 0.0.0.0/0 is every address"),
        (f"rules:\n- {{{RULE}, networks: 10.0.0.0/8}}", "2: networks is a list"),
        (f"rules:\n- {{{RULE}, registery: r}}", "2: unknown key 'registery'; is registry meant?"),
        (f"rules:\n- {{{RULE}, comment: [a]}}", "2: comment is one line of text"),
        (f'rules:\n- {{{RULE}, comment: "a\\nb"}}', "2: comment is one line of printable text"),
        ("rules:\n- a", "2: a mapping is needed here"),
        ("rules:\n- {effect: allow}", "2: actions is missing"),
        ("tests: [[a]]", "1: tests: a text is needed here"),
        ("rules: [", "2: not to be read as YAML"),
        ("rules:\n- patterns: **", "2: not to be read as YAML"),
        ("rules:\n- patterns: {account}/**", "2: not to be read as YAML"),
        ("rules: []\n---\nrules: []", "2: a second document"),
        ("tests: [&a b, *a]", "1: &a is an anchor"),
        ("tests: [*a]", "1: *a is an alias"),
        ("tests: [!!str a]", "1: the tag tag:yaml.org,2002:str is not taken"),
        ("<<: {rules: []}", "1: unknown key '<<'"),
        ("? [a]\n: b", "1: a key is a text"),
        ("tests: " + "[" * 2000, "1: nested too deeply"),
        ("a: \x01", "1: a character that YAML does not take"),
        (b"rules: []\n# \xff", "2: not UTF-8 text"),
        (b"#" * (yaml_values.MAX_SIZE + 1), "1: the file is larger than 16 MiB"),
    ],
)  # fmt: skip
def test_a_problem_names_its_line(text: str | bytes, problem: str) -> None:
    assert any(said.startswith(problem) for said in refused(text)), refused(text)


def test_all_problems_are_reported_at_once() -> None:
    said = refused("""\
accounts:
  a: {kind: bot}
rules:
  - {effect: allow, subjects: [user, bob], patterns: [A, b/***], actions: [fly]}
  - {effect: allow, subjects: [bob], patterns: [A], actions: [pull]}
delegations:
  - {group: g, registry: r, pattern: '***', actions: [pull]}
""")
    assert [line.partition(":")[0] for line in said] == ["2", "4", "5", "5", "7"]


def test_a_bomb_is_not_unfolded() -> None:
    doubled = (f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnopqrst"))
    assert refused("a: &a [x, x]\n" + "".join(doubled)) == [
        "1: &a is an anchor, which is not taken"
    ]


_yaml = st.text(alphabet="ab:-[]{}*&!'\"|>#? \n\t%@", max_size=60).map(str.encode)


@given(st.binary(max_size=60) | _yaml)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with suppress(BadPolicy):
        read(content)


def test_the_files_in_the_documentation_are_good() -> None:
    text = (ROOT / "docs" / "policy.md").read_text()
    whole, _, renamed, tests = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert export.export(read(whole)) == whole
    assert {entry.was for entry in (read(renamed).groups or {}).values()} == {"developers"}
    assert len(assertions.read_all(read(tests).tests or (), "p.yaml")) == 7


# The schema.


def test_the_schema_that_is_published_is_the_codes() -> None:
    assert json.loads((ROOT / "docs" / "policy.schema.json").read_text()) == schema.schema()


def test_the_schema_takes_what_is_exported_and_refuses_what_is_not_known() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.schema())
    validator: Any = jsonschema.Draft202012Validator(schema.schema())
    whole = export.plain(read(WHOLE))
    validator.validate(whole)
    for section in ("rules", "delegations"):
        known = schema.PARTS[section].model_fields
        first = whole[section][0]
        assert not validator.is_valid(whole | {section: [first | {"stray": 1}]})
        for name in (name for name, key in known.items() if key.is_required()):
            lacking = {key: value for key, value in first.items() if key != name}
            assert not validator.is_valid(whole | {section: [lacking]})


MANY = 20_000


@pytest.mark.parametrize(
    "content",
    [
        f"rules: [{'a,' * MANY}]",
        f"delegations: [{'1,' * MANY}]",
        f"tests: [{'{},' * MANY}]",
        "groups: {" + "".join(f"g{n}: 1," for n in range(MANY)) + "}",
        "accounts: {" + "".join(f"a{n}: 1," for n in range(MANY)) + "}",
        "accounts: {" + "".join(f"a b{n}: {{kind: user}}," for n in range(MANY)) + "}",
        f"groups: {{dev: [{'1,' * MANY}]}}",
        f"rules: [{{effect: allow, subjects: [{'1,' * MANY}], patterns: [a], actions: [pull]}}]",
        "rules: [{" + "".join(f"k{n}: 1," for n in range(MANY)) + "}]",
        "".join(f"k{n}: 1\n" for n in range(MANY)),
    ],
    ids=range(10),
)
def test_however_much_is_wrong_the_problems_are_bounded_and_so_is_the_memory(content: str) -> None:
    tracemalloc.start()
    with pytest.raises(BadPolicy) as refused:
        parser.read(content.encode(), "policy.yaml")
    _, whole = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(refused.value.problems) <= parser.MAX_PROBLEMS + 1
    # Of each entry, what YAML makes of it; and some for each problem that is told.
    assert whole < 1_600 * MANY


def test_problems_after_the_first_slice_have_their_own_lines() -> None:
    rules = [f"  - {{{RULE.replace('[a]', f'[a{n}]')}}}\n" for n in range(parser.AT_ONCE + 5)]
    rules[-1] = "  - {effect: maybe}\n"
    with pytest.raises(BadPolicy) as refused:
        parser.read(("rules:\n" + "".join(rules)).encode(), "policy.yaml")
    assert {problem.line for problem in refused.value.problems} == {parser.AT_ONCE + 6}

"""Work on texts from outside is in proportion to their length, whatever is written in them."""

import base64
import gzip
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import pytest
from werkzeug.exceptions import HTTPException

from authserver.cli.pasted_token import token_in
from authserver.core import names, scope, subjects
from authserver.core.addresses import parse_address, parse_network
from authserver.core.decision import decide
from authserver.core.errors import AuthserverError
from authserver.core.pattern_sets import within
from authserver.core.patterns import Pattern, repository_pattern
from authserver.core.rule_index import RuleIndex
from authserver.core.rules import Effect, Rule, new_rule, rule_actions
from authserver.core.subjects import subject
from authserver.core.times import parse_time
from authserver.db.app_tokens import ceiling_limit
from authserver.db.backup import archive
from authserver.importers import htpasswd
from authserver.importers.docker_auth import config, matchers, name_patterns
from authserver.importers.docker_auth.evaluate import AclRequest, matches_text
from authserver.policy.files import assertions, parser
from authserver.web.api import pagination
from authserver.web.client_address import ClientAddress
from authserver.web.token import parameters_of, read_authorization
from tests.growth import LINEAR, doubling

Parse = Callable[[Any], object]
Shape = Callable[[int], object]

N = 6000
"""Of the small text of two; each parser gets as much, and twice that, of its worst shapes."""

# Combining characters that normalising has to put in order, each before all those before it.
STACKED = "\u0327\u0301"

RULES = RuleIndex.of(
    [Rule(1, Effect.ALLOW, (subject("anonymous"),), (Pattern("**"),), frozenset())]
)
ADDRESS = ClientAddress([parse_network("10.0.0.0/8")], "X-Forwarded-For")


def many(part: str, *, before: str = "", after: str = "") -> Shape:
    """Return texts that repeat a part until they are as long as is asked for."""
    return lambda n: before + part * (n // len(part)) + after


def encoded(shape: Shape, before: str = "") -> Shape:
    return lambda n: before + base64.b64encode(str(shape(n)).encode()).decode()


def _decided(text: str) -> None:
    for asked in scope.merge(map(scope.parse, scope.split([text]))):
        decide(RULES.candidates(None, asked.name), None, "registry", asked)


def _candidates(name: str) -> None:
    RULES.candidates(None, name)


def _delegated(texts: list[str]) -> None:
    bounds = [Pattern("**/*a*/" * 20 + "a*b*")]
    for text in texts:
        within(Pattern(text), bounds, share=len(texts))


def _matches(texts: tuple[str, str]) -> None:
    Pattern(texts[0]).matches(texts[1], None)


def _rule(texts: list[str]) -> None:
    new_rule(Effect.ALLOW, [subject("everyone")], texts, "pull")


def _condition(text: str) -> None:
    matchers.compiled.cache_clear()
    matchers.glob_matches.cache_clear()
    matches_text(
        text, "a" * 25, AclRequest("a" * 9, "repository", "a", "registry", ip_address("::1"))
    )


def _policy(text: str) -> None:
    parser.read(text.encode(), "policy.yaml")


def _htpasswd(text: str) -> None:
    list(htpasswd.parse(text.encode(), "htpasswd"))


NAME_SHAPES = (
    many(STACKED, before="a"),
    many("\u0344"),
    many("\u1112\u1161\u11ab"),
    many("\u017f"),
)
PATTERN_SHAPES = tuple(
    many(part, after=after)
    for part in ("a*", "*a", "*/", "**/", "a/*/", "{account}/", "a*-", "*", "a", "/", "{")
    for after in ("", "x", "!")
)

WORST: dict[str, tuple[Parse, tuple[Shape, ...]]] = {
    "scope": (
        _decided,
        (
            many("/", before="repository:", after=":pull"),
            many(f"repository:{'/' * 200}:pull "),
            many("a/", before="repository:", after="a:pull"),
            many("a-", before="repository:", after="!:pull"),
            many(":"),
            many("a", after="("),
            many(" "),
            many("pull,", before="repository:a:"),
            many("repository:a:pull "),
        ),
    ),
    "name": (names.account_name, NAME_SHAPES),
    "name that is looked up": (names.folded, (*NAME_SHAPES, many("ß"), many("İ"))),
    "subject": (subject, tuple(many(STACKED, before=kind) for kind in ("user:", "group:", ""))),
    "subjects": (subjects.subjects, (many("user:a,"), many(","), many(STACKED, before="user:a"))),
    "repository name": (
        names.is_repository_name,
        tuple(many(p, after="!") for p in ("a", "a-", "a.", "a__", "a/", "A.", "A-", "-", "0:")),
    ),
    "name in an index": (_candidates, (many("/"), many("a/"))),
    "pasted token": (
        token_in,
        tuple(
            many(part, before=before)
            for part in ("eyJaaaaaaa.\n", "eyJaaaaaaa ", "a", "a\n", " ", "\n", ".", "\\", '"')
            for before in ("", "eyJaaaaaaa", "eyJaaaaaaa.", "eyJaaaaaaa\n", "eyJaaaaaaa.a.a\n")
        ),
    ),
    "service": (names.service_name, (many("a "), many("a", after="\0"))),
    "text in a log": (names.printable, (many("\0"), many("\U0010ffff"), many("a"))),
    "pattern": (repository_pattern, PATTERN_SHAPES),
    "pattern and name": (
        _matches,
        (
            lambda n: ("*a" * 100 + "b", "a" * n),
            lambda n: ("**/a/" * 100 + "b", "a/" * (n // 2) + "a"),
        ),
    ),
    "patterns of a rule": (
        _rule,
        (
            lambda n: ["*-a" * 85] * (n // 255),
            lambda n: [f"a/{number}" for number in range(n // 4)],
        ),
    ),
    "patterns within a delegation": (
        _delegated,
        (
            lambda n: [f"{number}/{'*a' * 100}" for number in range(n // 200)],
            lambda n: [f"{number}/{'**/a*/' * 20}a" for number in range(n // 120)],
            lambda n: [f"team/a{number}" for number in range(n // 8)],
        ),
    ),
    "ceiling": (
        ceiling_limit,
        (
            many("a*", before="repository:", after=":pull"),
            many("/", before="repository:", after=":pull"),
            many("pull,", before="repository:a:", after="pull"),
        ),
    ),
    "actions": (
        lambda text: rule_actions(Effect.ALLOW, "repository", text),
        (many("pull,", after="all"), many(",")),
    ),
    "network": (
        parse_network,
        (many("1."), many("0:"), many("9", before="10.0.0.0/"), many("/"), many("f", before="::")),
    ),
    "address": (parse_address, (many("1."), many(":"), many("f", before="::"))),
    "time": (
        parse_time,
        (many("0", before="2026-01-01T00:00:00."), many("9"), many("-"), many("T", before="2026")),
    ),
    "Authorization header": (
        read_authorization,
        (
            encoded(many(STACKED, before="a", after=":x"), "Basic "),
            encoded(many(STACKED, before="a:"), "Basic "),
            encoded(many(":"), "Basic "),
            many(" ", before="Basic ", after="a"),
            many("=", before="Basic YQ"),
            many("Basic "),
        ),
    ),
    "forwarding header": (
        lambda text: ADDRESS.of("10.0.0.1", text),
        (many("10.0.0.1,"), many(","), many(" "), many("[", after=",10.0.0.1")),
    ),
    "form and query": (
        lambda text: parameters_of(text.encode("latin-1")),
        tuple(map(many, ("&", "=", "a=&", "a&", "%", "%ff", "+", "%41", "\xff", "a=%ff&"))),
    ),
    "cursor": (
        lambda text: pagination.read_cursor(text, int),
        (many("a"), many("="), many("-_"), encoded(many("[")), encoded(many("9", before="["))),
    ),
    "policy": (
        _policy,
        (
            many("- ", before="rules:\n"),
            many("[", before="rules: "),
            many("{a: ", before="rules: "),
            many("a: b\n"),
            many("rules: []\n"),
            many("  a: {kind: robot}\n", before="accounts:\n"),
            many("- user:a\n", before="groups:\n  a:\n"),
            many(
                "- {effect: allow, subjects: [everyone], patterns: [a], actions: [pull]}\n",
                before="rules:\n",
            ),
            many("a*", before="delegations: [{group: g, registry: r, actions: [pull], pattern: "),
            many("'", before="rules: "),
            many(" ", before="rules: '"),
            many("*a "),
        ),
    ),
    "assertion in a policy": (
        assertions.read,
        (
            many(" from a", before="a can pull a on b"),
            many(" at a", before="a can pull a on b"),
            many("a can "),
            many("a*", before="a can pull "),
        ),
    ),
    "htpasswd": (
        _htpasswd,
        (many("a:b\n"), many("a:"), many(STACKED, after=":x"), many("$apr1$", before="a:")),
    ),
}  # fmt: skip


# At N each of these would take for ever, if ways to match were tried one after the other.
FEW = N // 4
WORST |= {
    "docker_auth's condition": (
        _condition,
        (
            lambda n: "/^" + "a*" * (n // FEW) + "b$/",
            lambda n: "/" + "a+.*" * (n // FEW) + "b$/",
            lambda n: "/^" + "(a|a)*" * (n // FEW) + "b$/",
            lambda n: "/^" + "a?" * (n // FEW * 3) + "a" * (n // FEW * 3) + "$/",
            lambda n: "/^(" + "a{1,9}" * (n // FEW) + "){9}b$/",
            many("a*", before="/^", after="b$/"),
            many("(", before="/", after="/"),
            many("(a", before="/", after=")/"),
            many("a{999}", before="/", after="/"),
            many("[a-b]", before="/", after="/"),
            many("|", before="/", after="/"),
            many("${"),
            many("${account}"),
            many("*a", after="b"),
            many("[a", after="]"),
            many("?", after="b"),
            many("*"),
            many("\\"),
        ),
    ),
    "docker_auth's condition as patterns": (
        name_patterns.patterns,
        (
            lambda n: "/" + ".*a" * (n // FEW) + "/",
            lambda n: "/^" + "(a|b)" * (n // FEW) + ".*$/",
            lambda n: "/" + "(" * (n // FEW * 3) + "a" + ")" * (n // FEW * 3) + "/",
            many("(", before="/", after="/"),
            many("a*"),
        ),
    ),
    "docker_auth's condition as words": (
        matchers.plain,
        (many("(a|"), many("("), many("a|"), many("(a|b)"), many("\\."), many("a"), many(")")),
    ),
    "docker_auth's configuration": (
        lambda text: config.read(text.encode(), "config.yml"),
        (
            lambda n: (
                f"x: &x [{'a,' * (n // 4)}]\nacl:\n" + "- {match: , actions: *x}\n" * (n // 50)
            ),
            lambda n: (
                f"x: &x {{match: {{{'a,' * (n // 4)}}}, actions: []}}\nacl:\n"
                + "- *x\n" * (n // 10)
            ),
            many("- {match: {name: a}, actions: [pull]}\n", before="acl:\n"),
            many("  a: {password: b}\n", before="users:\n"),
            many("{a: ", before="acl: "),
            many("- ", before="acl:\n"),
            many("a: b\n"),
            many("&a "),
            many("*a "),
            many(" ", before="acl: '"),
            many("a "),
        ),
    ),
    "backup": (
        lambda text: list(archive.unpack(gzip.compress(text.encode()))),
        (
            many("["),
            many("[],", before='{"rows":[', after="[]]}"),
            many("9", before='{"end":', after="}"),
            many('{"end":1}\n'),
            many("\n"),
            many(" "),
            many('"a":1,', before="{", after='"b":1}'),
            many("\\u0000", before='{"a":"', after='"}'),
        ),
    ),
}

CASES = [
    pytest.param(parse, shape, id=f"{parser} {number}")
    for parser, (parse, shapes) in WORST.items()
    for number, shape in enumerate(shapes)
]


@pytest.mark.parametrize(("parse", "shape"), CASES)
def test_work_on_a_text_from_outside_is_in_proportion_to_its_length(
    parse: Parse, shape: Shape
) -> None:
    def work(text: object) -> None:
        with suppress(AuthserverError, HTTPException):
            parse(text)

    ratio = doubling(work, shape(N), shape(2 * N))
    assert ratio <= LINEAR

"""What hypothesis draws, and second implementations that are plain instead of quick."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from hypothesis import strategies as st

from authserver.core.addresses import Address, Network
from authserver.core.conditions import (
    ALWAYS,
    UNKNOWN,
    Circumstances,
    Conditions,
    Period,
    SourceNetworks,
)
from authserver.core.decision import Decision, decide
from authserver.core.patterns import Pattern
from authserver.core.rules import Effect, Limit, Rule
from authserver.core.scope import Scope
from authserver.core.subjects import Account, AccountKind, subject

COMPONENT = r"[a-z0-9]{1,3}(?:(?:[._]|__|-{1,3})[a-z0-9]{1,2}){0,2}"
HOST = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,3}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9]{1,3}){0,2}(?::[0-9]{1,5})?"

components = st.from_regex(COMPONENT, fullmatch=True)
hosts = st.from_regex(HOST, fullmatch=True)


@st.composite
def repository_names(draw: st.DrawFn) -> str:
    """Draw a name that the Distribution reference grammar accepts."""
    host = draw(st.lists(hosts, max_size=1))
    return "/".join([*host, *draw(st.lists(components, min_size=1, max_size=3))])


def covers(pattern: str, name: str, account: str | None) -> bool:
    """Whether ``pattern`` covers ``name``, by way of one regular expression."""
    placed = account is not None and re.fullmatch(COMPONENT.replace("{1,3}", "+"), account)

    def segment(text: str) -> str:
        if text == "**":
            return "[^/]+(/[^/]+)*"
        if text == "{account}":
            return re.escape(account or "") if placed else r"(?!)"
        return "[^/]*".join(map(re.escape, text.split("*")))

    return re.fullmatch("/".join(map(segment, pattern.split("/"))), name) is not None


@dataclass(frozen=True)
class Covered:
    """A pattern that was made from the name that it covers."""

    pattern: str
    name: str
    account: str | None


@st.composite
def covered(draw: st.DrawFn) -> Covered:
    """Draw a valid name, and put wild cards in the place of some of it."""
    name = draw(repository_names())
    segments = name.split("/")
    account = draw(st.sampled_from([None, segments[-1]]))
    if account is not None:
        segments[-1] = "{account}"
    starred = draw(st.integers(0, len(segments) - 1))
    if segments[starred] != "{account}":
        segments[starred] = draw(_starred(segments[starred]))
    start = draw(st.integers(0, len(segments)))
    stop = draw(st.integers(start, len(segments)))
    if start < stop:
        segments[start:stop] = ["**"]
    return Covered("/".join(segments), name, account)


@st.composite
def _starred(draw: st.DrawFn, segment: str) -> str:
    start = draw(st.integers(0, len(segment)))
    stop = draw(st.integers(start, len(segment)))
    one_star = f"{segment[:start]}*{segment[stop:]}"
    # Two stars side by side would be the word for whole segments.
    return draw(st.sampled_from([segment, one_star, f"{segment[0]}*", f"*{segment[-1]}", "*"]))


REPOSITORY_ACTIONS = ("pull", "push", "delete", "*")
PATTERNS = ("**", "*", "a", "a/*", "a/**", "*/b", "**/b", "al*/**")
OWN_PATTERNS = ("{account}", "{account}/**", "a/{account}")
NAMES = ("a", "a/b", "alice", "alice/b", "H:5000/b")
IMPOSSIBLE = ("A", "a/B", "a//b", "../a", "a..b", "", "a" * 256)
ASKED = ("pull", "push", "delete", "pull,push", "*", "pull,*", "delete,fly,pull", "push,,delete")
STORED = ("pull", "push", "delete", "pull,push", "pull,push,delete", "*", "*", "*")
PUBLIC = ("everyone", "authenticated", "anonymous")
SUBJECTS = (*PUBLIC, *PUBLIC, "user:alice", "user:alice", "robot:alice", "group:dev", "group:ops")

# Laws break where rules meet, so the worlds that are drawn are small and their rules are wide.
ACCOUNTS = (
    Account("alice", groups=frozenset({"dev"})),
    Account("alice", groups=frozenset({"dev", "ops"})),
    Account("alice", AccountKind.ROBOT),
    Account("a@x", groups=frozenset({"ops"})),
    Account("bob"),
)
accounts = st.sampled_from(ACCOUNTS)
services = st.sampled_from(["r1", "r2"])
_patterns = st.sampled_from(["**"] * 16 + [*PATTERNS, *OWN_PATTERNS]).map(Pattern)
_stored = st.sampled_from(STORED).map(lambda text: frozenset(text.split(",")))
_subjects = st.sampled_from(SUBJECTS).map(subject)
_asked = st.sampled_from(ASKED).map(lambda text: tuple(text.split(",")))


NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32")
ADDRESSES = ("10.0.0.1", "10.1.2.3", "192.0.2.7", "192.0.2.8", "2001:db8::1", "::1")
_times = st.sampled_from([-1, 0, 1]).map(lambda hours: NOON + timedelta(hours=hours))


def when(
    networks: Sequence[str] = (), begin: datetime | None = None, end: datetime | None = None
) -> Conditions:
    """Return conditions, also those of a period that is empty."""
    of_networks = SourceNetworks.parse({"networks": networks})
    period = Period(begin, end) if begin or end else None
    return Conditions(tuple(part for part in (of_networks, period) if part is not None))


_narrow = st.builds(
    when,
    st.lists(st.sampled_from(NETWORKS), max_size=2),
    st.none() | _times,
    st.none() | _times,
)
conditions = st.sampled_from([st.just(ALWAYS)] * 3 + [_narrow]).flatmap(lambda drawn: drawn)
circumstances = st.builds(
    Circumstances,
    st.sampled_from([None, *map(ip_address, ADDRESSES)]),
    st.none() | _times | st.just(NOON),
)


@st.composite
def rules(draw: st.DrawFn, effects: tuple[Effect, ...] = tuple(Effect)) -> Rule:
    """Draw a rule, most often one on repositories."""
    kind = draw(st.sampled_from(["repository"] * 8 + ["registry"]))
    on_repositories = kind == "repository"
    return Rule(
        id=draw(st.integers(1, 99)),
        effect=draw(st.sampled_from(effects)),
        subjects=tuple(draw(st.lists(_subjects, min_size=1, max_size=2))),
        patterns=tuple(draw(st.lists(_patterns, min_size=1, max_size=2)))
        if on_repositories
        else (Pattern("catalog"),),
        actions=draw(_stored) if on_repositories else frozenset("*"),
        type=kind,
        service=draw(st.sampled_from([None, None, None, None, "r1", "r2"])),
        conditions=draw(conditions),
        enabled=draw(st.sampled_from([True, True, True, True, True, False])),
    )


def numbered(drawn: list[Rule]) -> list[Rule]:
    """Give each rule an id of its own, as the store does."""
    return [replace(rule, id=number) for number, rule in enumerate(drawn, 1)]


limits = st.builds(Limit, st.sampled_from(["repository", "registry"]), _patterns, _stored)
_repositories = st.builds(Scope, st.just("repository"), st.sampled_from(NAMES), _asked)
_catalog = st.just(Scope("registry", "catalog", ("*",)))
possible_scopes = st.sampled_from([_repositories] * 8 + [_catalog]).flatmap(lambda drawn: drawn)
impossible_scopes = st.one_of(
    st.builds(Scope, st.just("repository"), st.sampled_from(IMPOSSIBLE), _asked),
    st.builds(Scope, st.just("registry"), st.sampled_from(NAMES), _asked),
    st.builds(Scope, st.just("plugin"), st.sampled_from(NAMES), _asked),
    st.builds(Scope, st.just("repository"), st.sampled_from(NAMES), st.just(("", "fly"))),
)
scopes = possible_scopes | impossible_scopes


@dataclass(frozen=True)
class Question:
    """All that one decision depends on."""

    rules: list[Rule]
    account: Account | None
    service: str
    scope: Scope
    ceiling: list[Limit] | None
    circumstances: Circumstances = UNKNOWN

    def decide(self, **changed: Any) -> Decision:
        """Decide it, with something changed if that is asked for."""
        asked = replace(self, **changed)
        return decide(
            asked.rules,
            asked.account,
            asked.service,
            asked.scope,
            asked.ceiling,
            asked.circumstances,
        )

    def granted(self, **changed: Any) -> set[str]:
        return set(self.decide(**changed).granted)


@st.composite
def questions(
    draw: st.DrawFn, asked: st.SearchStrategy[Scope] = possible_scopes, *, anybody: bool = True
) -> Question:
    """Draw a question by an account or, if ``anybody`` may ask, without credentials."""
    account = draw(accounts)
    ceiling = draw(st.lists(limits, min_size=1, max_size=3))
    number = draw(st.sampled_from([0, 1, 2, 4, 6, 8]))
    return Question(
        rules=[draw(rules()) for _ in range(number)],
        account=draw(st.sampled_from([account, account, None])) if anybody else account,
        service=draw(services),
        scope=draw(asked),
        ceiling=draw(st.sampled_from([None, ceiling])),
        circumstances=draw(circumstances),
    )


def expand(resource_type: str, actions: frozenset[str] | tuple[str, ...]) -> set[str]:
    """Read ``*`` as everything that the resource type knows, and drop what it does not know."""
    known = set(REPOSITORY_ACTIONS) if resource_type == "repository" else {"*"}
    return known if "*" in actions else known & set(actions)


def formula(question: Question) -> set[str]:
    """Return what a possible scope is granted, as the design writes it.

    granted = requested ∩ (((allow(account) ∩ ceiling) ∪ grant(anonymous)) − deny(account)); a deny
    on ``anonymous`` binds only requests without credentials.
    """
    scope, account = question.scope, question.account
    public = {"anonymous", "everyone"}
    if account is None:
        given = _said(question, "allow", public) - _said(question, "deny", public)
    else:
        own = {f"{account.kind}:{account.name}", "authenticated", "everyone"}
        own |= {f"group:{group}" for group in account.groups}
        allowed = _said(question, "allow", own, account.name)
        if question.ceiling is not None:
            allowed &= _at_most(question.ceiling, scope, account.name)
        allowed |= _said(question, "allow", public)
        given = allowed - _said(question, "deny", own, account.name)
    granted = given & expand(scope.type, scope.actions)
    whole = expand(scope.type, ("*",)) <= granted
    return granted if whole else granted - {"*"}


def _said(question: Question, effect: str, on: set[str], account: str | None = None) -> set[str]:
    return {
        action
        for rule in question.rules
        if rule.effect == effect
        and rule.enabled
        and on & {str(subject) for subject in rule.subjects}
        and rule.type == question.scope.type
        and rule.service in {None, question.service}
        and any(covers(p.text, question.scope.name, account) for p in rule.patterns)
        and _holds(rule, question.circumstances)
        for action in expand(rule.type, rule.actions)
    }


def _holds(rule: Rule, here: Circumstances) -> bool:
    """Whether a rule's conditions hold; what is not known counts against the one who asks."""
    unknown = rule.effect == "deny"
    of_networks = rule.conditions.find(SourceNetworks)
    period = rule.conditions.find(Period)
    from_there = of_networks is None or unknown
    if of_networks is not None and here.address is not None:
        from_there = any(_in(here.address, network) for network in of_networks.networks)
    then = period is None or unknown
    if period is not None and here.at is not None:
        early, late = (bound or here.at for bound in (period.begin, period.end))
        then = early <= here.at and (period.end is None or here.at < late)
    return from_there and then


def _in(address: Address, network: Network) -> bool:
    same = address.version == network.version
    shift = network.max_prefixlen - network.prefixlen
    return same and int(address) >> shift == int(network.network_address) >> shift


def _at_most(ceiling: list[Limit], scope: Scope, account: str) -> set[str]:
    return {
        action
        for limit in ceiling
        if limit.type == scope.type and covers(limit.pattern.text, scope.name, account)
        for action in expand(limit.type, limit.actions)
    }

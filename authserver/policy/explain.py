"""Explain what would be granted, and why, with the function that decides token requests."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy.orm import Session

from authserver.core import scope, second_factor
from authserver.core.addresses import parse_network
from authserver.core.conditions import HINDRANCES, Circumstances, Hindrance
from authserver.core.decision import Cause, Decision, decide
from authserver.core.errors import NotFound, Refused
from authserver.core.names import is_repository_name
from authserver.core.rules import (
    ACTIONS,
    ALL,
    CATALOG,
    IS_DISABLED,
    LIST,
    OTHER_ACTIONS,
    OTHER_NAME,
    OTHER_REGISTRY,
    OTHER_SUBJECT,
    OTHER_TYPE,
    Asked,
    Effect,
    Limit,
    Rule,
)
from authserver.core.scope import MalformedScope, Scope
from authserver.core.second_factor import Demanded, Due
from authserver.core.subjects import ANONYMOUS, AccountKind
from authserver.core.times import format_time
from authserver.db import app_tokens
from authserver.db.snapshot import Snapshot
from authserver.db.snapshot_rows import KnownAccount

MAX_CLOSE = 5

# What kept a rule from applying, the nearest miss first.
_NEARNESS = (
    IS_DISABLED,
    *HINDRANCES,
    OTHER_ACTIONS,
    OTHER_REGISTRY,
    OTHER_SUBJECT,
    OTHER_NAME,
)


@dataclass(frozen=True)
class NearMiss:
    """An allow that only one thing keeps from applying."""

    rule: Rule
    hindrance: Hindrance

    def __str__(self) -> str:
        return f"rule {self.rule.id} ({self.rule}) came close: {self.hindrance}"


@dataclass(frozen=True)
class ScopeExplanation:
    """A decision; if it grants less than was asked, also the rules that came close.

    ``barred`` has the reasons why the credential gets no token, whatever the rules say.
    """

    decision: Decision
    close: Sequence[NearMiss] = ()
    barred: Sequence[str] = ()

    @property
    def granted(self) -> tuple[str, ...]:
        return () if self.barred else self.decision.granted

    @property
    def complete(self) -> bool:
        return not self.barred and self.decision.complete

    @property
    def sentences(self) -> list[str]:
        """Say why, the reason that outweighs all others first."""
        return [
            *(f"{why}: no token is issued" for why in self.barred),
            *map(str, self.decision.reasons),
            *map(str, self.close),
        ]

    def as_json(self) -> dict[str, Any]:
        return {
            "scope": str(self.decision.scope),
            "granted": list(self.granted),
            "complete": self.complete,
            "reasons": [
                *({"cause": "barred", "actions": [], "rule": None, "text": w} for w in self.barred),
                *(
                    {
                        "cause": reason.cause,
                        "actions": list(reason.actions),
                        "rule": reason.rule.id if reason.rule else None,
                        "text": str(reason),
                    }
                    for reason in self.decision.reasons
                ),
            ],
            "close": [
                {"rule": close.rule.id, "text": str(close), "why": close.hindrance.name}
                for close in self.close
            ],
        }


@dataclass(frozen=True)
class AccessAnswer:
    """The decisions on some scopes for one account (None: anonymous) on one registry.

    ``malformed`` maps each text that is not a scope to the reason. ``barred`` has the reasons why
    the credential gets no token at all. With ``app_tokens_only`` the account's password gets none,
    as also where a second factor is ``due`` beside it.
    """

    service: str
    known: KnownAccount | None
    circumstances: Circumstances
    explained: Sequence[ScopeExplanation]
    malformed: dict[str, str]
    barred: Sequence[str] = ()
    app_tokens_only: bool = False
    due: Due = Due.NOTHING

    @property
    def name(self) -> str:
        return self.known.account.name if self.known else ANONYMOUS

    @property
    def complete(self) -> bool:
        """Whether all of every scope would be granted."""
        all_of_it = all(each.complete for each in self.explained)
        return not self.malformed and bool(self.explained) and all_of_it

    def as_json(self) -> dict[str, Any]:
        address, at = self.circumstances.address, self.circumstances.at
        return {
            "account": self.name,
            "registry": self.service,
            "from": address and str(address),
            "at": at and format_time(at),
            "disabled": self.known is not None and self.known.disabled,
            "barred": list(self.barred),
            "app_tokens_only": self.app_tokens_only,
            "second_factor_due": self.due,
            "complete": self.complete,
            "scopes": [
                *(each.as_json() for each in self.explained),
                *(_malformed_json(text, why) for text, why in self.malformed.items()),
            ],
        }


def _malformed_json(text: str, why: str) -> dict[str, Any]:
    return {
        "scope": text,
        "granted": [],
        "complete": False,
        "reasons": [{"cause": "malformed", "actions": [], "rule": None, "text": why}],
        "close": [],
    }


def explain(
    state: Snapshot,
    service: str,
    account: str,
    texts: Sequence[str],
    circumstances: Circumstances,
    ceiling: Sequence[Limit] | None = None,
    barred: Sequence[str] = (),
    demanded: Demanded = Demanded.OPTIONAL,
) -> AccessAnswer:
    """Decide scopes for an account of that name, or for ``anonymous``.

    ``texts`` are read as by :func:`parse_scope`. ``barred`` are reasons why the credential gets no
    token at all. ``demanded`` says who must have a second factor.

    Raises:
        NotFound: there is no such account in ``state``.
    """
    known = known_account(state, account)
    if known and known.disabled:
        # A robot may be disabled with its owner; the snapshot does not tell which of them is.
        robot = known.account.kind is AccountKind.ROBOT
        barred = (f"the account{', or its owner,' if robot else ''} is disabled", *barred)
    read, malformed = [], {}
    for text in scope.split(texts):
        try:
            read.append(parse_scope(text))
        except MalformedScope as error:
            malformed[text] = str(error)
    who = known.account if known else None
    explained = []
    for merged in scope.merge(read):
        decision = decide(state.rules, who, service, merged, ceiling, circumstances)
        asked = Asked(who, service, _missing(decision), circumstances)
        applied = {reason.rule for reason in decision.reasons}
        others = (rule for rule in state.rules if rule not in applied)
        explained.append(ScopeExplanation(decision, came_close(others, asked), barred))
    only, due = takes_app_tokens_only(state, service, known), due_of(known, demanded)
    only = only or due is not Due.NOTHING
    return AccessAnswer(service, known, circumstances, explained, malformed, barred, only, due)


def due_of(known: KnownAccount | None, demanded: Demanded) -> Due:
    """Return what is due beside the password of an account; robots and anonymous have none."""
    if known is None or known.account.kind is AccountKind.ROBOT:
        return Due.NOTHING
    return second_factor.due(demanded, has=known.second_factor, admin=known.admin)


def takes_app_tokens_only(state: Snapshot, service: str, known: KnownAccount | None) -> bool:
    """Whether a registry issues tokens to an account for app tokens only, not for a password."""
    return known is not None and (
        known.app_tokens_only
        or known.account.kind is AccountKind.ROBOT
        or state.registries[service].app_tokens_only
    )


def parse_scope(text: str) -> Scope:
    """Read a scope as a client sends it, or its short form: ``team/app:pull``, ``catalog:list``.

    The short form takes ``all`` for ``*``.

    Raises:
        MalformedScope: the text is neither, or a short form names an unknown action.
    """
    name, colon, words = text.rpartition(":")
    kind = text.partition(":")[0].partition("(")[0]
    # A host's port has a colon too, so that host:5000/app:pull looks like a scope of type host.
    if not colon or not name or (":" in name and (kind in ACTIONS or not is_repository_name(name))):
        return scope.parse(text)
    if (name, words) == (CATALOG, LIST):
        return Scope("registry", CATALOG, (ALL,))
    actions = ",".join(ALL if word == "all" else word for word in words.split(","))
    if unknown := [word for word in actions.split(",") if word not in ACTIONS["repository"]]:
        raise MalformedScope(
            f"malformed scope {text!r}: unknown action {unknown[0]!r}, "
            "choose from pull, push, delete, all"
        )
    return scope.parse(f"repository:{name}:{actions}")


def token_bounds(
    session: Session, account: str, token_id: int, when: Circumstances
) -> tuple[tuple[Limit, ...] | None, list[str]]:
    """Return the ceiling of an account's app token, and the reasons why it would get no token.

    Raises:
        NotFound: there is no such app token.
        Refused: the app token belongs to another account.
    """
    token = app_tokens.get(session, token_id)
    if token.account.name != account:
        raise Refused(f"the app token {token_id} is {token.account.name}'s, not {account}'s")
    barred = []
    if token.expires_at is not None and when.at is not None and token.expires_at <= when.at:
        barred.append(f"the app token {token.name} has expired, at {format_time(token.expires_at)}")
    networks = tuple(map(parse_network, token.networks or ()))
    if when.address and networks and not any(when.address in each for each in networks):
        barred.append(f"the app token {token.name} is not good from {when.address}")
    return app_tokens.limits(token.ceiling), barred


def known_account(state: Snapshot, name: str) -> KnownAccount | None:
    """Return the account of that name, None for ``anonymous``.

    Raises:
        NotFound: there is no account of that name.
    """
    known = None if name == ANONYMOUS else state.accounts.get(name)
    if known is None and name != ANONYMOUS:
        raise NotFound(f"there is no account {name!r}")
    return known


def _missing(decision: Decision) -> Scope:
    """Return the part of the scope that no rule allows.

    Another allow does not help against a deny, a ceiling or an impossible name.
    """
    asked = decision.scope
    unmatched = [r.actions for r in decision.reasons if r.cause is Cause.NO_RULE]
    actions = tuple(action for each in unmatched for action in each)
    named = tuple(action for action in actions if action != ALL)
    return Scope(asked.type, asked.name, named or actions)


def came_close(rules: Iterable[Rule], asked: Asked) -> list[NearMiss]:
    """Return the allows that only one thing keeps from applying, the nearest first."""
    if not asked.scope.actions:
        return []
    # An anonymous request is asked about once. The order is fixed, so that answers are stable.
    ways = tuple(dict.fromkeys((asked, asked.anonymously())))
    found = [NearMiss(rule, why) for rule in rules for why in _only_hindrance(rule, ways)]
    found.sort(
        key=lambda close: (
            _NEARNESS.index(close.hindrance),
            -_likeness(close.rule, asked.scope.name),
            close.rule.id,
        )
    )
    return found[:MAX_CLOSE]


def _only_hindrance(rule: Rule, ways: Iterable[Asked]) -> Iterator[Hindrance]:
    if rule.effect is not Effect.ALLOW:
        return
    for way in ways:
        match list(islice(rule.hindrances(way), 2)):
            case [hindrance] if hindrance != OTHER_TYPE:
                yield hindrance
                return


def _likeness(rule: Rule, name: str) -> int:
    """Return the number of leading segments that a pattern and the name share."""
    segments = name.split("/")
    return max(sum(1 for _ in _common(pattern.segments, segments)) for pattern in rule.patterns)


def _common(left: Sequence[str], right: Sequence[str]) -> Iterator[str]:
    for one, other in zip(left, right, strict=False):
        if one != other:
            return
        yield one

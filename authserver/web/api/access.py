"""Questions about the rules: explain, who-can, effective, lint."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from authserver.core.addresses import parse_address
from authserver.core.conditions import Circumstances
from authserver.core.errors import Refused
from authserver.core.names import is_repository_name
from authserver.core.rules import Limit
from authserver.db import lookup, snapshot
from authserver.db.snapshot import Snapshot
from authserver.policy import access
from authserver.policy import explain as policy_explain
from authserver.policy import lint as policy_lint
from authserver.policy.lint import MAX_DAYS, Code, Level, LintAges, rule_usage
from authserver.web.api import pagination
from authserver.web.api.models import (
    MAX_ID,
    WHOLE,
    Answer,
    Body,
    Name,
    Nothing,
    Paging,
    Query,
    Sought,
    Time,
    decimal,
)
from authserver.web.api.operations import Call, Operations, Reply, references
from authserver.web.api.pagination import Page, part

OPERATIONS = Operations("questions", "What would be granted, and why.")


class Question(Body):
    """What would be granted of some scopes."""

    account: Name = Field(description="Or anonymous.")
    registry: Annotated[str, Field(min_length=1)]
    scopes: list[str] = Field(min_length=1, examples=[["repository:team/app:pull"]])
    address: str | None = Field(
        default=None, alias="from", description="As a request from this address."
    )
    at: Time | None = Field(default=None, description="At this time instead of now.")
    token: Annotated[int, Field(ge=0, le=MAX_ID), WHOLE] | None = Field(
        default=None, description="With the bounds of this app token of the account, by its id."
    )


class Reason(Answer):
    """One step that led to a decision."""

    cause: str
    actions: list[str]
    rule: int | None
    text: str


class Close(Answer):
    """A rule that came close."""

    rule: int
    text: str
    why: str


class Decided(Answer):
    """What would be granted of one scope, and why."""

    scope: str
    granted: list[str]
    complete: bool
    reasons: list[Reason]
    close: list[Close]


class Explanation(Answer):
    """What one account would be granted."""

    account: str
    registry: str
    address: str | None = Field(alias="from")
    at: str | None
    disabled: bool
    barred: list[str]
    complete: bool
    scopes: list[Decided]


class Explanations(Page[Explanation]):
    """A part of those who may."""


class Except(Answer):
    """A deny that takes some of it away."""

    rule: int
    text: str


class Reached(Answer):
    """What one pattern of one allow gives."""

    registry: str
    type: str
    pattern: str
    actions: list[str]
    rule: int
    text: str
    exceptions: list[Except] = Field(alias="except")


class Effective(Answer):
    """All that one account may do."""

    account: str
    disabled: bool
    effective: list[Reached]


class Found(Answer):
    """Something that a look at the rules found; the first of the rules is what it is about."""

    code: Code
    level: Level
    rules: list[int]
    text: str
    remedy: str | None = Field(description="The command that mends it.")


class Lint(Answer):
    """All findings, the gravest first, and notes on what could not be told."""

    findings: list[Found]
    notes: list[str]


class WhoCan(Paging):
    """Who may do what."""

    action: Literal["pull", "push", "delete"]
    repository: Sought
    registry: Sought
    address: Sought | None = Field(
        None, alias="from", description="From this address; without it, from any."
    )


class WhatCan(Query):
    """Whose reach."""

    account: Sought = Field(description="Or anonymous.")
    registry: Sought | None = Field(None, description="On this registry only.")
    address: Sought | None = Field(
        None, alias="from", description="From this address; without it, from any."
    )


class Judged(Query):
    """By what rules are judged."""

    level: Literal["info", "warning", "error"] = Field(
        "info", description="Leave out the findings below this level."
    )
    unused_days: Annotated[int, Field(ge=0, le=MAX_DAYS), BeforeValidator(decimal)] = Field(
        0,
        description="Report rules that nothing touched, or that were disabled, for so many days; "
        "0: for as long as records of token requests are kept.",
    )


def _snapshot(call: Call[Any, Any], registry: str | None) -> Snapshot:
    """Return the state that token requests are decided by."""
    if registry is not None:
        with call.read() as session, references():
            lookup.registry(session, registry)
    return call.parts.callers.state.current.snapshot


def _circumstances(call: Call[Any, Any], address: str | None, at: Any = None) -> Circumstances:  # noqa: ANN401 - a time or None
    read = None if address is None else parse_address(address)
    if address is not None and read is None:
        raise Refused(f"{address!r} is no IP address")
    return Circumstances(read, at or call.parts.store.clock())


def _bounds(
    call: Call[Question, Query], when: Circumstances
) -> tuple[tuple[Limit, ...] | None, list[str]]:
    """Return the ceiling of the app token that is asked about, and why it is not good at all."""
    asked = call.body
    if asked.token is None:
        return None, []
    with call.read() as session:
        return policy_explain.token_bounds(session, asked.account, asked.token, when)


@OPERATIONS.operation("POST", "/explain", answer=Explanation, body=Question)
def explain(call: Call[Question, Query]) -> Reply:
    """Say what an account would be granted of some scopes, and why; nothing is changed."""
    asked = call.body
    when = _circumstances(call, asked.address, asked.at)
    state = _snapshot(call, asked.registry)
    with references():
        who, scopes = asked.account, asked.scopes
        ceiling, barred = _bounds(call, when)
        answer = policy_explain.explain(state, asked.registry, who, scopes, when, ceiling, barred)
    return Reply(Explanation.model_validate(answer.as_json()))


@OPERATIONS.operation("GET", "/who-can", answer=Explanations, query=WhoCan)
def who_can(call: Call[Nothing, WhoCan]) -> Reply:
    """List everybody who may do something on a repository, and by which rules."""
    asked = call.query
    if not is_repository_name(asked.repository):
        raise Refused(f"{asked.repository!r} is no repository name that a registry accepts")
    after = None if asked.cursor is None else pagination.read_cursor(asked.cursor, str)[0]
    when, state = _circumstances(call, asked.address), _snapshot(call, asked.registry)
    found = [
        (answer.name if answer.known else "", answer.as_json())
        for answer in access.who_can(state, asked.registry, asked.action, asked.repository, when)
    ]
    rest = [(place, told) for place, told in found if after is None or place > str(after)]
    more = pagination.write_cursor([rest[asked.limit - 1][0]]) if rest[asked.limit :] else None
    return part(call, Explanations, [told for _, told in rest[: asked.limit]], more)


@OPERATIONS.operation("GET", "/effective", answer=Effective, query=WhatCan)
def effective(call: Call[Nothing, WhatCan]) -> Reply:
    """List all that an account may do, and by which rules."""
    asked = call.query
    when, state = _circumstances(call, asked.address), _snapshot(call, asked.registry)
    services = sorted(state.registries) if asked.registry is None else [asked.registry]
    with references():
        found = access.effective(state, services, asked.account, when)
    return Reply(Effective.model_validate(found.as_json()))


@OPERATIONS.operation("GET", "/lint", answer=Lint, query=Judged)
def lint(call: Call[Nothing, Judged]) -> Reply:
    """Look for rules without effect, wider than is often meant, or left over."""
    asked, kept = call.query, call.parts.settings.token_record_days
    ages = LintAges(call.parts.store.clock(), asked.unused_days or kept, kept)
    with call.read() as session:
        state, known = snapshot.load(session), rule_usage.load(session, ages.since)
    return Reply(
        Lint.model_validate(policy_lint.lint(state, known, ages).as_json(Level(asked.level)))
    )

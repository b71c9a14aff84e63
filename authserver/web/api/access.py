"""Questions about the rules: explain, who-can, effective, lint."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from authserver.core import scope
from authserver.core.addresses import parse_address
from authserver.core.conditions import Circumstances
from authserver.core.errors import NotFound, Refused
from authserver.core.names import repository_name
from authserver.core.rules import Limit
from authserver.core.second_factor import Demanded
from authserver.db import lookup, snapshot
from authserver.db.models import AppTokenRow
from authserver.db.snapshot import Snapshot
from authserver.policy import access
from authserver.policy import explain as policy_explain
from authserver.policy.lint import checks, rule_usage
from authserver.policy.lint.findings import MAX_DAYS, Code, Level
from authserver.policy.lint.stale import LintAges
from authserver.web.api import me
from authserver.web.api.caller import Need
from authserver.web.api.models import (
    MAX_ID,
    WHOLE,
    ApiAnswer,
    ApiBody,
    ApiQuery,
    Name,
    Nothing,
    Paging,
    Sought,
    Text,
    Time,
    decimal,
)
from authserver.web.api.operations import Call, Operations, references
from authserver.web.api.pagination import Page, page

OPERATIONS = Operations("questions", "What would be granted, and why.")


MAX_OWN_SCOPES = 20
"""Everybody may ask about themselves, and each scope is compared with each of their rules."""


class OwnQuestion(ApiBody):
    """What would be granted to me of some scopes."""

    registry: Text
    scopes: list[str] = Field(
        min_length=1,
        description="As clients send them, or in short as team/app:pull.",
        examples=[["repository:team/app:pull"]],
    )
    address: str | None = Field(
        default=None, alias="from", description="As a request from this address."
    )
    at: Time | None = Field(default=None, description="At this time instead of now.")
    token: Annotated[int, Field(ge=0, le=MAX_ID), WHOLE] | None = Field(
        default=None, description="With the bounds of this app token of the account, by its id."
    )


class ApiQuestion(OwnQuestion):
    """What would be granted of some scopes."""

    account: Name = Field(description="Or anonymous.")


class ApiReason(ApiAnswer):
    """One step that led to a decision."""

    cause: str
    actions: list[str]
    rule: int | None
    text: str


class ApiClose(ApiAnswer):
    """A rule that came close."""

    rule: int
    text: str
    why: str


class Decided(ApiAnswer):
    """What would be granted of one scope, and why."""

    scope: str
    granted: list[str]
    complete: bool
    reasons: list[ApiReason]
    close: list[ApiClose]


class Explanation(ApiAnswer):
    """What one account would be granted."""

    account: str
    registry: str
    address: str | None = Field(alias="from")
    at: str | None
    disabled: bool
    barred: list[str]
    app_tokens_only: bool = Field(description="Whether only app tokens get it, not the password.")
    second_factor_due: Literal["nothing", "proof", "enrolment"] = Field(
        description="Why: the account has a second factor (proof), or must set one up (enrolment)."
    )
    complete: bool
    scopes: list[Decided]


class Explanations(Page[Explanation]):
    """A page of the list of accounts that may."""


class Except(ApiAnswer):
    """A deny that takes some of it away."""

    rule: int
    text: str


class ApiReached(ApiAnswer):
    """What one pattern of one allow gives."""

    registry: str
    type: str
    pattern: str
    actions: list[str]
    rule: int
    text: str
    exceptions: list[Except] = Field(alias="except")


class Effective(ApiAnswer):
    """All that one account may do."""

    account: str
    disabled: bool
    effective: list[ApiReached]


class Found(ApiAnswer):
    """A finding. The first of the rules is the one that it is about."""

    code: Code
    level: Level
    rules: list[int]
    text: str
    remedy: str | None = Field(description="The command that mends it.")


class Lint(ApiAnswer):
    """All findings, the gravest first, and notes on what could not be found out."""

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


class WhatCanI(ApiQuery):
    """Where and from where."""

    registry: Sought | None = Field(None, description="On this registry only.")
    address: Sought | None = Field(
        None, alias="from", description="From this address; without it, from any."
    )


class WhatCan(WhatCanI):
    """Which account."""

    account: Sought = Field(description="Or anonymous.")


class LintQuery(ApiQuery):
    """What to report."""

    level: Literal["info", "warning", "error"] = Field(
        "info", description="Leave out the findings below this level."
    )
    unused_days: Annotated[int, Field(ge=0, le=MAX_DAYS), BeforeValidator(decimal)] = Field(
        0,
        description="Report rules that nothing touched, or that were disabled, for so many days; "
        "0: for as long as records of token requests are kept.",
    )


def _snapshot(call: Call[Any, Any], registry: str | None) -> Snapshot:
    """Return the state that token requests are decided by; below ``/me`` what concerns the caller.

    Other subjects of its rules are left out there.
    """
    if registry is not None:
        with call.read() as session, references():
            lookup.registry(session, registry)
    state = call.parts.callers.state.current.snapshot
    return state if call.owner is None else access.concerning(state, call.owner)


def _circumstances(
    call: Call[Any, Any], address: str | None, at: datetime | None = None
) -> Circumstances:
    network = None if address is None else parse_address(address)
    if address is not None and network is None:
        raise Refused(f"{address!r} is no IP address")
    return Circumstances(network, at or call.parts.store.clock())


def _token_bounds(
    call: Call[Any, ApiQuery], account: str, when: Circumstances
) -> tuple[tuple[Limit, ...] | None, list[str]]:
    """Return the ceiling of the question's app token, and why the token is not good at all."""
    if call.body.token is None:
        return None, []
    with call.read() as session:
        app_token = session.get(AppTokenRow, call.body.token)
        if call.owner is not None and (app_token is None or app_token.account.name != call.owner):
            raise NotFound(f"there is no app token {call.body.token} of yours")
        return policy_explain.token_bounds(session, account, call.body.token, when)


def _require_few_scopes(scopes: Sequence[str]) -> None:
    """Check that a question about oneself takes bounded work; one text may have several scopes.

    Raises:
        Refused: it has more than MAX_OWN_SCOPES.
    """
    if len(scope.split(scopes)) > MAX_OWN_SCOPES:
        raise Refused(f"at most {MAX_OWN_SCOPES} scopes at a time")


def _demanded(call: Call[Any, Any]) -> Demanded:
    return call.parts.settings.second_factor


@me.own(
    "POST",
    "/explain",
    need=Need.SELF,
    name="explain_mine",
    summary="Say what I would be granted of some scopes, and by which rules that reach me.",
    body=OwnQuestion,
)
@OPERATIONS.operation("POST", "/explain", need=Need.READER)
def explain(call: Call[ApiQuestion, ApiQuery]) -> Explanation:
    """Say what an account would be granted of some scopes, and why. This changes nothing."""
    question = call.body
    when = _circumstances(call, question.address, question.at)
    state = _snapshot(call, question.registry)
    if call.owner is not None:
        _require_few_scopes(question.scopes)
    with references():
        who, scopes = call.owner or question.account, question.scopes
        ceiling, barred = _token_bounds(call, who, when)
        answer = policy_explain.explain(
            state, question.registry, who, scopes, when, ceiling, barred, _demanded(call)
        )
    return Explanation.model_validate(answer.as_json())


@OPERATIONS.operation("GET", "/who-can", need=Need.READER)
def who_can(call: Call[Nothing, WhoCan]) -> Explanations:
    """List the accounts that may do something on a repository, and by which rules."""
    query = call.query
    repository_name(query.repository)
    when, state = _circumstances(call, query.address), _snapshot(call, query.registry)
    about = (query.registry, query.action, query.repository)
    answers = [*access.who_can(state, *about, when, _demanded(call))]

    def place(answer: policy_explain.AccessAnswer) -> str:
        return answer.name if answer.known else ""

    return page(
        call,
        Explanations,
        lambda _, after, limit: [
            answer for answer in answers if after is None or place(answer) > after[0]
        ][:limit],
        lambda answer: answer.as_json(),
        lambda rows: [place(rows[-1])],
        str,
    )


@me.own(
    "GET",
    "/effective",
    need=Need.SELF,
    name="show_my_effective",
    summary="List all that I may do, and by which rules that reach me.",
    query=WhatCanI,
)
@OPERATIONS.operation("GET", "/effective", need=Need.READER)
def effective(call: Call[Nothing, WhatCan]) -> Effective:
    """List all that an account may do, and by which rules."""
    query = call.query
    when, state = _circumstances(call, query.address), _snapshot(call, query.registry)
    services = sorted(state.registries) if query.registry is None else [query.registry]
    if call.owner is not None:
        access.require_few(state, services)
    with references():
        reach = access.effective(state, services, call.owner or query.account, when)
    return Effective.model_validate(reach.as_json())


@OPERATIONS.operation("GET", "/lint", need=Need.READER)
def lint(call: Call[Nothing, LintQuery]) -> Lint:
    """Find rules without effect, rules wider than is often meant, and rules left over."""
    days = call.parts.settings.token_record_days
    ages = LintAges(call.parts.store.clock(), call.query.unused_days or days, days)
    with call.read() as session:
        state, usage = snapshot.load(session), rule_usage.load(session, ages.since)
    report = checks.lint(state, usage, ages)
    return Lint.model_validate(report.as_json(Level(call.query.level)))

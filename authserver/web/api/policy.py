"""The policy as one document: export, plan, apply."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Literal

from pydantic import Field

from authserver.core.bounds import UNBOUNDED
from authserver.core.errors import Refused
from authserver.db import accounts
from authserver.policy.files import current_state, parser
from authserver.policy.files import export as policy_export
from authserver.policy.files import plan as policy_plan
from authserver.policy.files.document import BadPolicy, Policy
from authserver.policy.files.steps import Verb
from authserver.policy.files.store_copy import StoreCopy
from authserver.web.api.caller import Need
from authserver.web.api.models import ApiAnswer, ApiQuery, Flag, Invalid
from authserver.web.api.operations import BareCall, Call, Operations
from authserver.web.api.policy_document import PolicyDocument
from authserver.web.api.problems import Refusal, pointer

OPERATIONS = Operations("policy", "Registries, accounts, groups and rules as one document.")

MAX_BYTES = 8 * 2**20
"""Of a document: some 40,000 rules."""

MAX_DETAILS = 5


class PlannedEffect(ApiAnswer):
    """What some accounts gain or lose."""

    change: Literal["gain", "lose"]
    accounts: list[str]
    actions: list[str]
    type: str
    pattern: str
    some: bool = Field(description="Not on all that the pattern covers.")
    registry: str | None
    conditions: str | None


class PlannedEffects(ApiAnswer):
    """What one change does to accounts."""

    told: list[PlannedEffect]
    more: bool = Field(description="Whether that is not all of it.")


class PlannedStep(ApiAnswer):
    """One thing that would be added, changed or removed."""

    do: Verb
    what: Literal["registry", "account", "group", "member", "rule", "delegation"]
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class PlannedChange(PlannedStep):
    """One change, and who gains or loses by it."""

    effects: PlannedEffects


class PolicyPlan(ApiAnswer):
    """What a document changes."""

    id: str = Field(description="Tells this plan from every other; applying takes it.")
    changes: list[PlannedChange]
    prunable: list[PlannedStep] = Field(description="What only pruning removes.")
    notes: list[str]
    unsafe: list[str] = Field(description="What is done by force only.")
    goes: list[str] = Field(description="Which app tokens, logins and invitations go.")


class Planning(ApiQuery):
    """How a document is taken."""

    prune: Flag = Field(
        default=False,
        description="Remove what the document does not name, in the sections that it has.",
    )


class Applying(Planning):
    """Which plan is carried out."""

    plan: str = Field(min_length=1, description="The id of the plan that was seen.")
    force: Flag = Field(
        default=False,
        description="Do it even where a deny rests on what is taken away.",
    )


@contextmanager
def _policy(document: PolicyDocument) -> Iterator[Policy]:
    """Give the policy of a document; refuse it with a JSON Pointer to each problem."""
    try:
        policy = parser.read_document(document)
        policy_plan.require_something(policy)
        yield policy
    except BadPolicy as error:
        found = [
            Invalid(where=pointer(each.location.place), detail=each.text) for each in error.problems
        ]
        said = "; ".join(f"{each.where}: {each.detail}" for each in found[:MAX_DETAILS])
        raise Refusal(HTTPStatus.CONFLICT, said, found) from None


@OPERATIONS.operation(
    "GET", "/policy", name="export_policy", answer=PolicyDocument, need=Need.READER
)
def export(call: BareCall) -> PolicyDocument:
    """Export all but secrets and the rules that delegates wrote."""
    with call.read() as session:
        standing = current_state.load(session)
    said = policy_export.plain(current_state.as_policy(standing))
    return PolicyDocument.model_validate(said)


@OPERATIONS.operation(
    "POST",
    "/policy/plan",
    name="plan_policy",
    body=PolicyDocument,
    need=Need.READER,
    max_bytes=MAX_BYTES,
)
def plan(call: Call[PolicyDocument, Planning]) -> PolicyPlan:
    """Show what a document would change, and who would gain or lose; this changes nothing."""
    with _policy(call.body) as policy:
        with call.read() as session:
            store = StoreCopy.of(session)
        planned = policy_plan.plan(store, policy, prune=call.query.prune)
    return PolicyPlan.model_validate(planned.as_json())


@OPERATIONS.operation(
    "POST",
    "/policy/apply",
    name="apply_policy",
    body=PolicyDocument,
    max_bytes=MAX_BYTES,
)
def apply(call: Call[PolicyDocument, Applying]) -> PolicyPlan:
    """Apply a document, all of it or nothing, if its plan still has this id.

    An app token with bounds renames nothing.
    """
    asked = call.query
    with _policy(call.body) as policy, call.change() as change:
        before = accounts.has_administrator(change.session)
        done = policy_plan.apply(
            change, policy, prune=asked.prune, force=asked.force, expect=asked.plan
        )
        if any(step.verb is Verb.RENAME for step in done.steps):
            # Bounds with {account} follow the name.
            call.caller.require_within(UNBOUNDED)
        if before and not accounts.has_administrator(change.session):
            raise Refused("no administrator that can log in would be left; the command line can")
    return PolicyPlan.model_validate(done.as_json())

"""Audit records of changes and of token requests."""

from dataclasses import astuple
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from authserver.audit import records
from authserver.audit.records import Before, Filter
from authserver.web.api.caller import Need
from authserver.web.api.models import ApiAnswer, Nothing, Paging, Sought, Time
from authserver.web.api.operations import Call, Operations
from authserver.web.api.pagination import Page, page, read_cursor

OPERATIONS = Operations("audit", "Records of changes and of token requests.")


class ApiChangeRecord(ApiAnswer):
    """A change: who, what, before and after."""

    kind: Literal["change"]
    at: datetime
    actor: str
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class ApiTokenRecord(ApiAnswer):
    """A token request and its outcome, or a request to this API that was refused."""

    kind: Literal["token"]
    at: datetime
    outcome: str
    account: str
    credential: str
    address: str
    client: str
    registry: str
    requested: str
    granted: str
    jti: str | None
    reason: str
    rules: list[int] = Field(description="The rules by which it was decided.")
    requests: int = Field(
        description="How many requests it stands for: one record counts several by strangers."
    )
    request_id: str


class Records(Page[Annotated[ApiChangeRecord | ApiTokenRecord, Field(discriminator="kind")]]):
    """A page of the records, the newest first."""


class Which(Paging):
    """Which records."""

    kind: Literal["change", "token"] | None = Field(None, description="Only of this kind.")
    account: Sought | None = Field(None, description="Only about this account.")
    action: Sought | None = Field(None, description="Only changes of this kind, like user.add.")
    outcome: Literal["granted", "partial", "denied", "refused"] | None = Field(
        None, description="Only token requests that ended so."
    )
    registry: Sought | None = Field(None, description="Only token requests for this registry.")
    repository: Sought | None = Field(
        None, description="Only token requests that asked for this repository."
    )
    address: Sought | None = Field(None, description="Only token requests from this address.")
    since: Time | None = Field(None, description="Only from this time on.")
    until: Time | None = Field(None, description="Only from before this time.")

    @property
    def filter(self) -> Filter:
        return Filter(**{name: getattr(self, name) for name in Filter.__slots__})


@OPERATIONS.operation("GET", "/audit", need=Need.READER)
def list_records(call: Call[Nothing, Which]) -> Records:
    """List the records, the newest first."""
    before, cursor = Before(), call.query.cursor
    if cursor is not None:
        before = Before(*map(int, read_cursor(cursor, int, int)))
    return page(
        call,
        Records,
        lambda session, _, limit: records.latest(session, call.query.filter, limit, before),
        lambda record: record.fields,
        lambda rows: [*astuple(records.after([*rows], before))],
        int,
        int,
    )

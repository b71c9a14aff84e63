"""Audit records: what was changed, and what was asked for."""

from dataclasses import astuple
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from authserver.audit import records
from authserver.audit.records import Before, Filter
from authserver.web.api import pagination
from authserver.web.api.models import Answer, Nothing, Paging, Sought, Time
from authserver.web.api.operations import Call, Operations, Reply
from authserver.web.api.pagination import Page, part

OPERATIONS = Operations("audit", "Records of changes and of token requests.")


class ChangeRecord(Answer):
    """A change: who, what, before and after."""

    kind: Literal["change"]
    at: datetime
    actor: str
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class TokenRecord(Answer):
    """A token request and its outcome, or one to this API that was refused."""

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
        description="How many requests it stands for: of strangers, who got nothing, more than one."
    )
    request_id: str


class Records(Page[Annotated[ChangeRecord | TokenRecord, Field(discriminator="kind")]]):
    """A part of the records, the newest first."""


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


@OPERATIONS.operation("GET", "/audit", answer=Records, query=Which)
def list_records(call: Call[Nothing, Which]) -> Reply:
    """List the records, the newest first."""
    wanted = call.query
    before = _place(wanted.cursor)
    with call.read() as session:
        found = records.latest(session, wanted.filter, wanted.limit + 1, before)
    told, rest = found[: wanted.limit], found[wanted.limit :]
    more = pagination.write_cursor([*astuple(records.after(told, before))]) if rest else None
    return part(call, Records, [record.told for record in told], more)


def _place(cursor: str | None) -> Before:
    if cursor is None:
        return Before()
    change, token = pagination.read_cursor(cursor, int, int)
    return Before(int(change), int(token))

"""Audit records of changes and of token requests."""

from dataclasses import astuple
from datetime import datetime
from threading import Lock
from typing import Annotated, Any, Literal

from pydantic import Field

from authserver.audit import KINDS, checkpoints, recorder, records, verify
from authserver.audit.chain import RecordKind
from authserver.audit.records import Before, Filter
from authserver.core.errors import NotFound, Refused
from authserver.web.api.caller import Need
from authserver.web.api.models import ApiAnswer, Nothing, Paging, Sought, Time
from authserver.web.api.operations import BareCall, Call, Operations
from authserver.web.api.pagination import Page, page, read_cursor

OPERATIONS = Operations("audit", "Records of changes and of token requests.")

VERIFIES_FOR = 10.0
"""How many seconds a verification takes at most: less than proxies wait for an answer."""
MAX_FAULTS = 100

_verifying = Lock()


class ApiChangeRecord(ApiAnswer):
    """A change: who, what, before and after."""

    kind: Literal["change"]
    id: int
    at: datetime
    actor: str
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class ApiTokenRecord(ApiAnswer):
    """A token request and its outcome, or a request to this API that was refused."""

    kind: Literal["token"]
    id: int
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


_AnyRecord = Annotated[ApiChangeRecord | ApiTokenRecord, Field(discriminator="kind")]


class Records(Page[_AnyRecord]):
    """A page of the records, the newest first."""


class OneRecord(ApiAnswer):
    """One record."""

    record: _AnyRecord


class AuditSeal(ApiAnswer):
    """What this server's last checkpoint found. It looks at what came since the one before."""

    altered: str | None = Field(description="Which records it found altered; null if none.")
    checkpoint: int | None = Field(description="null: it cannot be read.")
    checkpoint_at: datetime | None


class ApiFault(ApiAnswer):
    """What is wrong with some records, or with the chains."""

    chain: str
    what: str
    first: int | None
    last: int | None
    row: int | None
    text: str


class ApiRestart(ApiAnswer):
    """When all chains were closed as they were, by whose account and why."""

    at: datetime
    actor: str
    reason: str
    record: int
    faults: dict[str, int]


class VerifiedRecords(ApiAnswer):
    """What a verification found. Numbers of records are by their kind."""

    ok: bool = Field(description="Whether nothing was found that raises an alarm.")
    complete: bool = Field(
        description="Whether there was time for all records; otherwise the oldest were verified."
    )
    faults: list[ApiFault] = Field(description=f"The first {MAX_FAULTS}.")
    faults_found: int
    closed_faults: list[ApiFault] = Field(
        description=f"The first {MAX_FAULTS} in closed chains; they raise no alarm."
    )
    closed_faults_found: int
    verified: dict[str, int]
    closed: dict[str, int] = Field(description="Those in closed chains.")
    unchained: dict[str, int] = Field(description="Those in no chain that could be verified.")
    chains: int
    checkpoint: int | None
    checkpoint_at: datetime | None
    open: int = Field(description="How many came after the checkpoint.")
    restarts: list[ApiRestart]


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


@OPERATIONS.operation("GET", "/audit/{kind}/{id}", need=Need.READER)
def show_record(call: BareCall) -> OneRecord:
    """Show a record. The ids of a change and of a token request are apart."""
    kind = call.path["kind"]
    if kind not in KINDS:
        raise NotFound(f"there is no kind {kind!r} of records: {' or '.join(KINDS)}")
    with call.read() as session:
        found = records.one(session, RecordKind(kind), call.path["id"])
    return OneRecord.model_validate({"record": found.fields})


@OPERATIONS.operation("GET", "/audit/state", need=Need.READER)
def show_audit_state(call: BareCall) -> AuditSeal:
    """Show whether this server's last checkpoint, one a minute, found altered records."""
    with call.read() as session:
        state = checkpoints.state_of(session)
    return AuditSeal(
        altered=call.parts.maintenance.altered,
        checkpoint=None if state is None else state.number,
        checkpoint_at=None if state is None else state.at,
    )


@OPERATIONS.operation("POST", "/audit/verify", need=Need.READER)
def verify_records(call: BareCall) -> VerifiedRecords:
    """Verify the records from the oldest on, ten seconds at most. This changes nothing.

    It is not compared with a log that is kept elsewhere: `authserver audit verify --against`.
    """
    if not _verifying.acquire(blocking=False):
        raise Refused("records are being verified: try again when that is done")
    try:
        with call.read() as session:
            key = recorder.Trail.of(call.parts.store).key(session)
            report = verify.verify_for(session, key, VERIFIES_FOR)
    finally:
        _verifying.release()
    told = report.as_json()
    for name in ("faults", "closed_faults"):
        told |= {f"{name}_found": len(told[name]), name: told[name][:MAX_FAULTS]}
    return VerifiedRecords.model_validate(told)

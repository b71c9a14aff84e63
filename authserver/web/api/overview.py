"""What needs attention, in one answer."""

from typing import Any

from pydantic import Field

from authserver.policy.lint.findings import Level
from authserver.web.api.caller import Need
from authserver.web.api.models import ApiAnswer, ApiQuery
from authserver.web.api.operations import BareCall, Call, Operations
from authserver.web.overview import from_process, from_store
from authserver.web.overview.from_store import StoreView
from authserver.web.overview.items import OverviewCode, OverviewItem, OverviewPage, in_order

OPERATIONS = Operations("overview", "What needs attention.")


class ApiOverviewItem(ApiAnswer):
    """One thing that needs attention."""

    code: OverviewCode
    level: Level
    text: str
    count: int = Field(description="How many there are.")
    first: list[str] = Field(description="The first few of them.")
    remedy: str | None = Field(description="A command that mends it, or shows more.")
    page: OverviewPage | None = Field(description="The console's page about it.")


class Overview(ApiAnswer):
    """What needs attention, the gravest first."""

    items: list[ApiOverviewItem]


def found(call: Call[Any, ApiQuery]) -> list[OverviewItem]:
    """Return what needs attention, by the store and by this process."""
    parts = call.parts
    known = parts.callers.state.current.snapshot
    with call.read() as session:
        view = StoreView(session, parts.store, parts.settings, parts.lint, known)
        return in_order([*from_process.items(parts.maintenance), *from_store.items(view)])


@OPERATIONS.operation("GET", "/overview", need=Need.READER)
def show_overview(call: BareCall) -> Overview:
    """Show what needs attention, the gravest first; lint's findings may be some minutes old."""
    return Overview.model_validate({"items": [item.as_json() for item in found(call)]})

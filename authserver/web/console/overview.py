"""What needs attention: the first page of who reads the administration."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, Response, request

from authserver.core import addresses
from authserver.core.subjects import AccountKind
from authserver.policy.lint.findings import Level
from authserver.web.api.overview import ApiOverviewItem
from authserver.web.console import layout
from authserver.web.console.cells import Tone
from authserver.web.console.faults import sentence
from authserver.web.console.language import Label, lazy
from authserver.web.console.layout import at, is_page, render
from authserver.web.console.visit import visit

pages = Blueprint("overview", __name__)

LEVELS: Sequence[tuple[Level, Label, Tone]] = (
    (Level.ERROR, lazy("Errors"), "bad"),
    (Level.WARNING, lazy("Warnings"), "warning"),
    (Level.INFO, lazy("Remarks"), ""),
)


@dataclass(frozen=True)
class ItemOnPage:
    """An item as the page shows it; ``names`` say more than its text, ``more`` is how many others.

    ``link`` is the title and the path of the page about it.
    """

    text: str
    names: Sequence[str]
    more: int
    remedy: str | None
    link: tuple[Label, str] | None

    @classmethod
    def of(cls, item: ApiOverviewItem) -> "ItemOnPage":
        # As on the command line: the text of a single thing names it already.
        names = item.first if item.count > 1 or item.code.startswith("lint") else []
        more = item.count - len(names) if names else 0
        page = item.page
        link = (_title(page), at(page)) if page is not None and is_page(page) else None
        return cls(sentence(item.text), names, more, item.remedy, link)


@pages.get("/overview")
def show_overview() -> Response:
    """Show what needs attention, by its level, and how much of what there is."""
    items: list[ApiOverviewItem] = visit().call("show_overview").items
    levels = [
        (title, tone, [ItemOnPage.of(item) for item in items if item.level is level])
        for level, title, tone in LEVELS
    ]
    return render(
        "overview.html",
        levels=[level for level in levels if level[2]],
        facts=_facts(),
        has_factor=visit().caller.identity.known.second_factor,
        is_readable=_is_readable(),
        settings=visit().console.parts.settings,
    )


def _title(page: str) -> Label:
    entries = (entry for _, group in layout.NAVIGATION for entry in group)
    return next((entry.title for entry in entries if entry.page == page), page)


def _facts() -> list[tuple[Label, int, str]]:
    """Return how many of each noun there are, with the page that lists them."""
    state = visit().console.parts.callers.state.current.snapshot
    kinds = [known.account.kind for known in state.accounts.values()]
    facts = (
        (lazy("Users"), kinds.count(AccountKind.USER), "users"),
        (lazy("Robots"), kinds.count(AccountKind.ROBOT), "robots"),
        (lazy("Groups"), len(state.names.groups), "groups"),
        (lazy("Rules"), len(state.rules), "rules"),
        (lazy("Registries"), len(state.registries), "registries"),
    )
    return [(title, number, at(page) if is_page(page) else "") for title, number, page in facts]


def _is_readable() -> bool:
    """Whether others on the network can read this page, as far as the server knows."""
    if visit().console.listener.is_secure or request.is_secure:
        return False
    address = addresses.parse_address(visit().origin.address)
    return address is not None and not address.is_loopback

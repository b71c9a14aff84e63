"""The items of an overview."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from authserver.core.commands import shell_command
from authserver.policy.lint.findings import Level

FIRST = 5
"""How many names an item has at most."""


class OverviewCode(StrEnum):
    """The kinds of items. Scripts depend on these words: they stay."""

    AUTHORITY_ENDS = "authority-ends"
    SIGNING_KEY_ENDS = "signing-key-ends"
    REGISTRY_KEY_ENDS = "registry-key-ends"
    REGISTRY_KEY_CLOSED = "registry-key-closed"
    TLS_ENDS = "tls-ends"
    TOKENS_END = "tokens-end"
    INVITATIONS_END = "invitations-end"
    LINT_ERROR = "lint-error"
    LINT_WARNING = "lint-warning"
    LINT_INFO = "lint-info"
    LOCKOUTS = "lockouts"
    NO_SECOND_FACTOR = "no-second-factor"
    REGISTRY_FAILED = "registry-failed"
    REGISTRY_UNCHECKED = "registry-unchecked"
    RECORDS_ALTERED = "records-altered"
    RECORDS_UNVERIFIED = "records-unverified"
    RECORDS_LATE = "records-late"
    RECORDS_SPOOLED = "records-spooled"
    SPACE = "space"
    CLOCK = "clock"
    PROXIES = "proxies"


class OverviewPage(StrEnum):
    """The console's pages that items lead to."""

    AUDIT = "audit"
    INVITATIONS = "invitations"
    KEYS = "keys"
    LINT = "lint"
    LOCKOUTS = "lockouts"
    REGISTRIES = "registries"
    TOKENS = "tokens"
    USERS = "users"


@dataclass(frozen=True, slots=True)
class OverviewItem:
    """What needs attention: how many things, the first few, a command and a page that help."""

    code: OverviewCode
    level: Level
    text: str
    count: int = 1
    first: tuple[str, ...] = ()
    remedy: str | None = None
    page: OverviewPage | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "level": self.level,
            "text": self.text,
            "count": self.count,
            "first": list(self.first),
            "remedy": self.remedy,
            "page": self.page,
        }


def in_order(items: Iterable[OverviewItem]) -> list[OverviewItem]:
    """Return the items, the gravest first; of two with one code only the first."""
    by_code: dict[OverviewCode, OverviewItem] = {}
    for item in items:
        by_code.setdefault(item.code, item)
    levels, codes = list(Level), list(OverviewCode)
    return sorted(
        by_code.values(), key=lambda item: (-levels.index(item.level), codes.index(item.code))
    )


def first_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that an item has."""
    return tuple(names[:FIRST])


def number(count: int, what: str) -> str:
    """Return how many of what."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def altered(what: str) -> OverviewItem:
    """Return the item of audit records that were altered."""
    return OverviewItem(
        OverviewCode.RECORDS_ALTERED,
        Level.ERROR,
        f"audit records were altered in the store: {what}",
        remedy=shell_command("audit", "verify"),
        page=OverviewPage.AUDIT,
    )

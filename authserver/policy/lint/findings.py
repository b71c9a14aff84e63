"""What lint reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from authserver.core.commands import program
from authserver.core.rules import Effect, Rule


class Level(StrEnum):
    """The severity of a finding, the lowest first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    def reaches(self, other: "Level") -> bool:
        levels = list(Level)
        return levels.index(self) >= levels.index(other)


MAX_DAYS = 3650
"""The most days that a rule can be asked to have been unused for."""


class Code(StrEnum):
    """The kinds of findings. Scripts depend on these words: they stay."""

    PUBLIC_WRITE = "public-write"
    HOST_ONLY = "host-only"
    PUBLIC_CATALOG = "public-catalog"
    AUTHENTICATED_WRITE = "authenticated-write"
    DENIED = "denied"
    UPLOAD_DENIED = "upload-denied"
    SHADOWED = "shadowed"
    NOBODY = "nobody"
    EMPTY_GROUP = "empty-group"
    DISABLED_ACCOUNT = "disabled-account"
    DISABLED_OWNER = "disabled-owner"
    NO_PATH_COMPONENT = "no-path-component"
    EXPIRED = "expired"
    LONG_DISABLED = "long-disabled"
    UNUSED = "unused"
    EMPTY_DELEGATION = "empty-delegation"
    DELEGATE_LEFT = "delegate-left"


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One finding, and the command that mends it.

    The first of ``rules`` is the rule that the finding is about, the others are the reason.
    """

    code: Code
    level: Level
    rules: tuple[int, ...]
    text: str
    remedy: str | None = None

    def __str__(self) -> str:
        return f"{self.level} {self.code}: {self.text}"

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "level": self.level,
            "rules": list(self.rules),
            "text": self.text,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True)
class LintReport:
    """All findings, the gravest first, and notes on what lint could not find out."""

    findings: Sequence[LintFinding]
    notes: Sequence[str]

    def at_least(self, level: Level) -> list[LintFinding]:
        return [finding for finding in self.findings if finding.level.reaches(level)]

    def as_json(self, least: Level = Level.INFO) -> dict[str, Any]:
        return {
            "findings": [finding.as_json() for finding in self.at_least(least)],
            "notes": list(self.notes),
        }


def cite(rule: Rule) -> str:
    """Return a rule for a text; one that is not written yet has no number."""
    return f"rule {rule.id} ({rule})" if rule.id > 0 else f"rule ({rule})"


def idle(code: Code, rule: Rule, text: str) -> LintFinding:
    """Return the finding that a rule has no effect now; a deny may be meant for later."""
    is_deny = rule.effect is Effect.DENY
    return LintFinding(
        code=code,
        level=Level.INFO if is_deny else Level.WARNING,
        rules=(rule.id,),
        text=f"{cite(rule)} {text}",
        remedy=None if is_deny else f"{program()} acl disable {rule.id}",
    )

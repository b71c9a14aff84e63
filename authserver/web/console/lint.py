"""Lint: what in the rules deserves a second look."""

from collections.abc import Mapping

from flask import Blueprint, Response, request

from authserver.policy.lint.findings import Level
from authserver.web.api.access import Lint
from authserver.web.console.cells import Tone
from authserver.web.console.faults import tried
from authserver.web.console.language import Label, lazy
from authserver.web.console.layout import is_page, render
from authserver.web.console.visit import console, visit

pages = Blueprint("lint", __name__)

LEVELS: Mapping[Level, tuple[Label, Tone]] = {
    Level.ERROR: (lazy("error"), "bad"),
    Level.WARNING: (lazy("warning"), "warning"),
    Level.INFO: (lazy("info"), ""),
}
LEAST = (
    (Level.INFO.value, lazy("all")),
    (Level.WARNING.value, lazy("warnings and errors")),
    (Level.ERROR.value, lazy("errors")),
)


@pages.get("/lint")
def findings() -> Response:
    """Show the findings, the gravest first."""
    visit().require("lint")
    # A form sends all its fields, the empty ones too.
    query = {name: text for name, text in request.args.items() if text}
    report, fault = tried(lambda: visit().call("lint", query=query))
    return render(
        "lint.html",
        groups=[] if report is None else _groups(report),
        notes=[] if report is None else report.notes,
        query=query,
        least=LEAST,
        levels=LEVELS,
        days=console().parts.settings.token_record_days,
        links_rules=is_page("rules/show"),
        command_words=_command(query),
        fault=fault,
    )


def _command(query: Mapping[str, str]) -> list[str]:
    """Return the words of the command that finds the same."""
    words = ["acl", "lint"]
    if level := query.get("level"):
        words += ["--level", level, "--quiet"]
    if days := query.get("unused_days"):
        words += ["--unused-days", days]
    return words


def _groups(report: Lint) -> list[tuple[Level, list[object]]]:
    """Return the findings of each level that has some, the gravest level first."""
    by_level = (
        (level, [each for each in report.findings if each.level is level]) for level in LEVELS
    )
    return [(level, [*found]) for level, found in by_level if found]

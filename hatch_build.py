"""The manual pages of the wheel, made from each command's ``--help`` when the wheel is built."""

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MAN = "share/man/man1"


class ManualPages(BuildHookInterface[Any]):
    """Adds a page for each command to the wheel; an editable installation has none."""

    PLUGIN_NAME = "custom"
    place: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the pages, and name them to the builder."""
        if version == "editable":
            return
        # Help uses no library but click, so a build needs no other: see cli/lazy_modules.py.
        for name in ("pydantic", "structlog"):
            if find_spec(name) is None:
                sys.modules[name] = ModuleType(name)
        sys.path.insert(0, self.root)
        root = import_module("authserver.cli").cli
        self.place = Path(tempfile.mkdtemp())
        for name, text in pages(root, self.metadata.version):
            page = self.place / f"{name}.1"
            page.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(page)] = f"{MAN}/{page.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the pages, which are in the wheel."""
        if self.place is not None:
            shutil.rmtree(self.place)


def pages(root: click.Command, version: str) -> Iterator[tuple[str, str]]:
    """Return the name and the text of the page of a command and of all below it."""
    yield from _pages(
        root, click.Context(root, info_name="authserver", **root.context_settings), version
    )


def _pages(command: click.Command, ctx: click.Context, version: str) -> Iterator[tuple[str, str]]:
    below = _below(command, ctx)
    name = ctx.command_path.replace(" ", "-")
    yield name, "\n".join(_page(command, ctx, name, version, below)) + "\n"
    for each, sub in below.items():
        yield from _pages(sub, click.Context(sub, parent=ctx, info_name=each), version)


def _below(command: click.Command, ctx: click.Context) -> dict[str, click.Command]:
    if not isinstance(command, click.Group):
        return {}
    found = {name: command.get_command(ctx, name) for name in command.list_commands(ctx)}
    return {name: sub for name, sub in found.items() if sub is not None and not sub.hidden}


def _page(
    command: click.Command,
    ctx: click.Context,
    name: str,
    version: str,
    below: dict[str, click.Command],
) -> Iterator[str]:
    yield f'.TH {name.upper()} 1 "" "authserver {version}" "authserver"'
    yield ".SH NAME"
    yield f"{_safe(name)} \\- {_safe(command.get_short_help_str(200))}"
    yield ".SH SYNOPSIS"
    yield f".B {_safe(ctx.command_path)}"
    yield _safe(" ".join(command.collect_usage_pieces(ctx)))
    yield ".SH DESCRIPTION"
    yield from _text(command.help or "")
    options = [each.get_help_record(ctx) for each in command.get_params(ctx)]
    yield from _list("OPTIONS", [record for record in options if record and record[1]])
    purposes = [(each, sub.get_short_help_str(200)) for each, sub in below.items()]
    yield from _list("COMMANDS", purposes)
    yield from _text(command.epilog or "")
    if others := [ctx.parent] * (ctx.parent is not None):
        yield ".SH SEE ALSO"
        yield from (f".BR {_safe(each.command_path.replace(' ', '-'))} (1)" for each in others)


def _list(title: str, items: list[tuple[str, str]]) -> Iterator[str]:
    if items:
        yield f".SH {title}"
    for name, text in items:
        yield ".TP"
        yield f".B {_safe(name)}"
        yield _safe(text)


def _text(text: str) -> Iterator[str]:
    """Return a help text: paragraphs, and lines that stay as they are where it begins with \\b."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = paragraph.strip().splitlines()
        if lines and lines[0] == "\b":
            kept = lines[1:]
            if kept and kept[0] == "Examples:":
                yield ".SH EXAMPLES"
                kept = kept[1:]
            yield from (".nf", *(_safe(line) for line in kept), ".fi")
        else:
            yield from (".PP", _safe(" ".join(map(str.strip, lines))))


def _safe(text: str) -> str:
    """Return text that roff prints as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in escaped)
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped

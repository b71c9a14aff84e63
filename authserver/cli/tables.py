"""Tables: on a terminal they fit its width and have colour; elsewhere they are whole and plain."""

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from authserver.cli.output import MAX_CELL, note, red
from authserver.core.names import printable

MAX_LINES = 4
"""Lines of a cell at most, where a table is made to fit."""
GAP = "  "

_WIDE = "authserver.wide"
# A time is one word, and a list may break after each comma.
_PIECES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\s*|[^\s,]+,?\s*|[\s,]+")
# By column: text that users write must not look like a state.
_BAD = {
    "STATE": re.compile("disabled|expired|revoked"),
    "EXPIRES": re.compile("expired"),
    "NOTE": re.compile("disabled"),
    "WHAT": re.compile("token (?:denied|refused)"),
}

_F = TypeVar("_F", bound=Callable[..., Any])
_Row = Sequence[str]


def wide_option(command: _F) -> _F:
    """Add ``--wide`` to a command that prints a table."""

    def keep(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        ctx.meta[_WIDE] = value

    text = "Print every column whole, however narrow the terminal is."
    return click.option("--wide", is_flag=True, expose_value=False, callback=keep, help=text)(
        command
    )


def print_table(
    header: _Row, rows: Iterable[Sequence[object]], empty: str, *, whole: bool = False
) -> None:
    """Print aligned columns, or on standard error that there is nothing.

    A table that is to be ``whole`` is not made to fit.
    """
    body = [[printable(str(cell), MAX_CELL) for cell in row] for row in rows]
    if not body:
        note(empty)
        return
    lines = [list(header), *body]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    whole = whole or not sys.stdout.isatty()
    if whole or click.get_current_context().meta.get(_WIDE):
        _print(lines, widths)
        return
    widths = fitted(lines, widths, shutil.get_terminal_size().columns)
    _print(lines, widths)
    if dropped := header[len(widths) :]:
        note(f"Not shown: {', '.join(dropped)}. See --wide.")


def fitted(lines: Sequence[_Row], widths: Sequence[int], room: int) -> list[int]:
    """Return the widths of the columns that fit into ``room``; the last columns are left out.

    No column is narrower than its longest word, and the first one is always there.
    """
    least = [max(map(_longest, column)) for column in zip(*lines, strict=True)]
    count = len(least)
    while count > 1 and sum(least[:count]) + len(GAP) * (count - 1) > room:
        count -= 1
    chosen = [*widths[:count]]
    surplus = sum(chosen) + len(GAP) * (count - 1) - room
    while surplus > 0 and any(map(int.__gt__, chosen, least)):
        # The column with the most room to give, down to the next one.
        place = max(range(count), key=lambda i: chosen[i] - least[i])
        given = max(1, min(surplus, (chosen[place] - least[place]) // 2))
        chosen[place] -= given
        surplus -= given
    return chosen


def wrapped(cell: str, width: int) -> list[str]:
    """Return a cell in lines of at most ``width``; only a longer word makes a longer line."""
    lines, line = [], ""
    for piece in _PIECES.findall(cell):
        if line and len(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        line += piece
    lines.append(line.rstrip())
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], "…"]
    return lines


def marked(text: str, header: str) -> str:
    """Return a cell of this column with a bad state, at its beginning, in red."""
    found = _BAD[header].match(text) if header in _BAD else None
    return text if found is None else red(found[0]) + text[found.end() :]


def _longest(cell: str) -> int:
    return max((len(piece.rstrip()) for piece in _PIECES.findall(cell)), default=0)


def _print(lines: Sequence[_Row], widths: Sequence[int]) -> None:
    header = lines[0]
    for number, line in enumerate(lines):
        cells = [
            wrapped(cell, width) if len(cell) > width else [cell]
            for cell, width in zip(line, widths, strict=False)
        ]
        for part in range(max(map(len, cells))):
            texts = [cell[part] if part < len(cell) else "" for cell in cells]
            padded = GAP.join(map(str.ljust, texts, widths)).rstrip()
            if number and not part:
                padded = _coloured(padded, header, widths)
            click.echo(padded)


def _coloured(line: str, header: _Row, widths: Sequence[int]) -> str:
    """Return a row's line with bad states in red. From the right: colour moves what follows."""
    for place in reversed(range(len(widths))):
        start = sum(widths[:place]) + len(GAP) * place
        line = line[:start] + marked(line[start:], header[place])
    return line

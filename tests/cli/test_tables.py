"""Tables on a terminal: their width and colour; elsewhere they are as they always were."""

import re
import sys

import click
import pytest

from authserver.cli import tables

HEADER = ("ID", "NAME", "STATE", "MEMBERS", "CREATED")
TIME = "2026-11-24 04:23:34Z"
ROWS = [
    (1, "alice", "disabled with its owner", "user:bob, user:carol, robot:a-long-name", TIME),
    (2, "disabled", "enabled", "user:" + "x" * 20, TIME),
]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """Prints a table as on a terminal, and returns the lines and the notes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        monkeypatch.delenv("NO_COLOR", raising=False)

    def __call__(
        self, columns: int, *, wide: bool = False, is_terminal: bool = True
    ) -> tuple[list[str], str]:
        self.monkeypatch.setenv("COLUMNS", str(columns))
        self.monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)

        @click.command()
        @tables.wide_option
        def show() -> None:
            tables.print_table(HEADER, ROWS, "nothing")

        show(["--wide"] if wide else [], standalone_mode=False)
        out, err = self.capsys.readouterr()
        return out.splitlines(), err


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capsys)


@pytest.mark.parametrize("columns", [20, 35, 50, 60, 80, 100, 200])
def test_a_table_fits_and_breaks_no_word(terminal: Terminal, columns: int) -> None:
    lines, note = terminal(columns)
    plain = [ANSI.sub("", line) for line in lines]
    assert max(map(len, plain)) <= columns
    words = {word for row in ROWS for cell in row for word in str(cell).split()} | {*HEADER}
    assert {word for line in plain for word in line.split()} <= words
    shown = plain[0].split()
    assert shown == list(HEADER[: len(shown)])
    left_out = HEADER[len(shown) :]
    assert (f"Not shown: {', '.join(left_out)}. See --wide." in note) == bool(left_out)
    assert (columns >= 80) == (not left_out)


def test_a_first_column_that_is_too_wide_is_there_all_the_same() -> None:
    assert tables.fitted([("A", "B"), ("x" * 50, "y")], [50, 1], 20) == [50]


def test_a_time_is_one_word_and_a_list_breaks_at_its_commas() -> None:
    assert tables.wrapped(f"{TIME} 192.0.2.1", 12) == [TIME, "192.0.2.1"]
    assert tables.wrapped("pull,push,delete", 10) == ["pull,push,", "delete"]
    assert tables.wrapped("a, b, c, d, e, f", 2) == ["a,", "b,", "c,", "…"]


def test_elsewhere_and_with_wide_a_table_is_whole(terminal: Terminal) -> None:
    piped, note = terminal(40, is_terminal=False)
    assert note == ""
    wide, note = terminal(40, wide=True)
    assert note == ""
    assert [ANSI.sub("", line) for line in wide] == piped
    assert [line.split("  ")[-1] for line in piped[1:]] == [TIME, TIME]
    assert not any("\x1b" in line for line in piped)


def test_a_table_that_is_to_be_whole_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    link = "https://auth.example.com/invitation#" + "x" * 60
    with click.Context(click.Command("x")):
        tables.print_table(("USER", "LINK"), [("alice", link)], "", whole=True)
    assert link in capsys.readouterr().out


def test_only_what_is_bad_is_red(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def coloured() -> list[str]:
        with click.Context(click.Command("x"), color=True):
            return terminal(200)[0]

    red = [re.findall(r"\x1b\[31m(.*?)\x1b\[0m", line) for line in coloured()]
    assert red == [[], ["disabled"], []], "not a user of that name"
    assert not any("\x1b" in line for line in terminal(200, is_terminal=False)[0])
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any("\x1b" in line for line in coloured())

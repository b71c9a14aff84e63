"""Commands on many accounts at once: by their names, by a file of names, or all in a group."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from authserver.cli.inputs import read_input
from authserver.cli.params import GROUP, OF_KIND
from authserver.core.errors import Refused
from authserver.core.names import nfc
from authserver.core.subjects import AccountKind
from authserver.db import lookup

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.cli.context import Context
    from authserver.db.store import Change

_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")


@dataclass(frozen=True)
class Selection:
    """What an operator named: names, a group, or a file; exactly one of them."""

    kind: AccountKind
    names: tuple[str, ...]
    group: str | None
    file: Path | None

    @property
    def is_one(self) -> bool:
        """Whether one account was named on the command line."""
        return len(self.names) == 1

    def find(self, context: Context) -> list[str]:
        """Return the names, each once. Call it before the change: standard input may wait.

        Raises:
            NotFound: there is no such group.
            Refused: the file cannot be read, or is no text.
        """
        if self.group is not None:
            with context.read() as session:
                found = self._members(session, self.group)
        elif self.file is not None:
            found = _lines(self.file)
        else:
            found = list(self.names)
        return list(dict.fromkeys(found))

    def require_same(self, change: Change, names: Sequence[str]) -> None:
        """Check in the change that the group still has the members that were found.

        Raises:
            NotFound: the group was removed.
            Refused: it has other members now.
        """
        if self.group is None:
            return
        if set(self._members(change.session, self.group)) != set(names):
            raise Refused(
                f"the members of the group {self.group} changed meanwhile: run this again"
            )

    def _members(self, session: Session, group: str) -> list[str]:
        members = lookup.group(session, group).members
        return [each.name for each in members if each.kind == self.kind]


def selected(kind: AccountKind) -> Callable[[_F], _F]:
    """Add the options that name accounts; the command gets them as ``selection``."""

    def decorate(command: _F) -> _F:
        @wraps(command)
        def run(names: tuple[str, ...], group: str | None, file: Path | None, **params: Any) -> Any:  # noqa: ANN401 - the command's own
            if (bool(names), group is not None, file is not None).count(True) != 1:
                raise click.UsageError(
                    f"name the {kind}s, or say --all-in GROUP, or --file FILE: one of the three"
                )
            return command(selection=Selection(kind, names, group, file), **params)

        for option in (
            click.option(
                "--file",
                metavar="FILE",
                type=click.Path(path_type=Path),
                help="Those in this file, a name a line; - is standard input.",
            ),
            click.option("--all-in", "group", type=GROUP, help=f"Each {kind} in this group."),
            click.argument("names", metavar="[NAME]...", nargs=-1, type=OF_KIND[kind]),
        ):
            run = option(run)
        return run  # type: ignore[return-value]

    return decorate


def _lines(file: Path) -> list[str]:
    try:
        text = read_input(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused(f"the names in {file} are not UTF-8 text") from None
    return [nfc(line.strip()) for line in text.splitlines() if line.strip()]


@contextmanager
def together(change: Change, names: Sequence[str]) -> Iterator[None]:
    """Look names up in memory, and count the store's version once, if there are many."""
    if len(names) == 1:
        yield
        return
    with change.counting(), lookup.remembered(change.session):
        yield


def each(names: Sequence[str], do: Callable[[str], _T]) -> list[_T]:
    """Return what ``do`` returns for each name; what is raised here must end the change.

    Raises:
        Refused: it was refused for some of them. The message names all.
    """
    done: list[_T] = []
    wrong: list[Refused] = []
    for name in names:
        try:
            done.append(do(name))
        except Refused as error:
            wrong.append(error)
    if wrong and len(names) == 1:
        raise wrong[0]
    if wrong:
        head = f"{len(wrong)} of {len(names)} were refused, so nothing was changed:"
        raise Refused("\n".join((head, *map(str, wrong))))
    return done

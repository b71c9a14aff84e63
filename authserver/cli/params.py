"""Types of arguments and options: names in the store, durations and times, enumerations."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from click.shell_completion import CompletionItem

from authserver.cli import point_at
from authserver.cli.context import now, require_owner
from authserver.core.commands import shell_command
from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.core.password_rules import MAX_BYTES
from authserver.core.subjects import AccountKind, SubjectKind
from authserver.core.times import parse_time
from authserver.db import (
    accounts,
    app_tokens,
    delegations,
    groups,
    lookup,
    refresh_tokens,
    rule_rows,
    rules,
)
from authserver.db import store as db_store
from authserver.keys import signing_keys
from authserver.registry import entries
from authserver.runtime import settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Find = Callable[["Session"], Iterable[str]]
FindIds = Callable[["Session"], Iterable[tuple[int, str]]]

NEW_PASSWORDS = (
    "A new password has as many characters as AUTHSERVER_PASSWORD_MIN_LENGTH says (8 unless it is "
    f"set), and at most {MAX_BYTES} bytes. The 10,000 most common passwords are refused, and NAME, "
    "also reversed or with digits after it. Which kinds of characters it has does not matter."
)
"""The end of the help of commands that set a password."""

_T = TypeVar("_T")

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MAX = timedelta(days=3650)


class Name(click.ParamType[str]):
    """Text that is a name of something there; commands say themselves if it is not.

    There may be ``several``, with commas between them.
    """

    name = "text"

    def __init__(self, find: Find, *, several: bool = False) -> None:
        self.find = find
        self.several = several

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's own signature
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the names that begin so; none at all where the store cannot be read."""
        names = _found(self.find, ctx)
        if self.several:
            return _continued(incomplete, names)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class Words(click.ParamType[str]):
    """Text of some of these words, with commas between them; it needs no store."""

    name = "text"

    def __init__(self, *words: str) -> None:
        self.words = words

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's own signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the words that begin so, after those that are there."""
        return _continued(incomplete, self.words)


class Id(click.IntRange):
    """The id of a thing, as the command ``listed_by`` shows it."""

    def __init__(self, kind: str, listed_by: str, find: FindIds) -> None:
        super().__init__(0, 2**63 - 1)
        self.kind, self.listed_by, self.find = kind, listed_by.split(), find

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            return int(super().convert(value, param, ctx))  # type: ignore[arg-type]
        except click.BadParameter:
            self.fail(
                f"{value!r} is no id. The id of {self.kind} is the number that it has in "
                f"`{shell_command(*self.listed_by)}`",
                param,
                ctx,
            )

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's own signature
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the ids that begin so, each with what it stands for."""
        return [
            CompletionItem(str(number), help=printable(text, 100))
            for number, text in _found(self.find, ctx)
            if str(number).startswith(incomplete)
        ]


def _continued(incomplete: str, words: Iterable[str]) -> list[CompletionItem]:
    """Return the words that begin as the last of a list with commas."""
    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(before + comma + word) for word in words if word.startswith(last)]


def _found(find: Callable[[Session], Iterable[_T]], ctx: click.Context) -> list[_T]:
    """Return what is in the store; nothing where it cannot be read."""
    params = ctx.find_root().params
    try:
        return _read(find, params.get("config_file"), params.get("data_dir"))
    except Exception:  # noqa: BLE001 - nobody asked a question that could be answered
        return []


def _read(
    find: Callable[[Session], Iterable[_T]], config_file: Path | None, data_dir: Path | None
) -> list[_T]:
    # While completing, click runs no command, so the flags before it are not in force yet.
    point_at(config_file, data_dir)
    chosen = settings.load(os.environ).settings
    require_owner(chosen.data_dir)
    store = db_store.open_store(chosen.store_url, now)
    try:
        with store.read() as session:
            return list(find(session))
    finally:
        store.engine.dispose()


def _accounts(kind: AccountKind | None = None) -> Find:
    return lambda session: [row.name for row in accounts.listed(session, kind)]


def _groups(session: Session) -> Iterable[str]:
    return [row.name for row in groups.listed(session)]


def _registries(session: Session) -> Iterable[str]:
    return [row.service for row in entries.listed(session)]


def named_or_only(session: Session, service: str | None, by: str = "SERVICE") -> str:
    """Return the registry that a command names ``by`` an argument or option, or the only one.

    Raises:
        NotFound: there is no such registry.
        click.UsageError: it names none, and there are several or none.
    """
    if service is not None:
        return lookup.registry(session, service).service
    match list(_registries(session)):
        case []:
            command = shell_command("registry", "add", "SERVICE")
            raise click.UsageError(f"there is no registry yet: {command}")
        case [only]:
            return only
        case services:
            raise click.UsageError(f"say which registry by {by}: {', '.join(services)}")


def _subjects(session: Session) -> Iterable[str]:
    yield from (SubjectKind.ANONYMOUS, SubjectKind.AUTHENTICATED, SubjectKind.EVERYONE)
    yield from (f"{row.kind}:{row.name}" for row in accounts.listed(session))
    yield from (f"{SubjectKind.GROUP}:{row.name}" for row in groups.listed(session))


ACCOUNT = Name(_accounts())


OF_KIND = {kind: Name(_accounts(kind)) for kind in AccountKind}


USER, ROBOT = OF_KIND[AccountKind.USER], OF_KIND[AccountKind.ROBOT]


GROUP = Name(_groups)


REGISTRY = Name(_registries)


SUBJECT = Name(_subjects)


SUBJECTS = Name(_subjects, several=True)


GROUP_SUBJECT = Name(lambda session: [f"group:{name}" for name in _groups(session)])


ACCOUNT_OR_ANONYMOUS = Name(lambda session: [SubjectKind.ANONYMOUS, *_accounts()(session)])


PATTERN = Name(lambda session: sorted({p for row in rules.listed(session) for p in row.patterns}))


ACTIONS = Words("pull", "push", "delete", "all")


RULE = Id(
    "a rule",
    "acl list",
    lambda session: [(rule.id, str(rule)) for rule in rule_rows.load(session)],
)


DELEGATION = Id(
    "a delegation",
    "acl delegations",
    lambda session: [
        (row.id, f"group:{row.group.name}: {delegations.str_delegation(row)}")
        for row in delegations.listed(session)
    ],
)


APP_TOKEN = Id(
    "an app token",
    "token list",
    lambda session: [
        (row.id, f"{row.name} of {row.account.name}") for row in app_tokens.listed(session)
    ],
)


SESSION = Id(
    "a session",
    "session list",
    lambda session: [
        (row.id, f"{row.account.name} on {row.for_registry.service}")
        for row in refresh_tokens.listed(session)
    ],
)


def _keys(role: str) -> FindIds:
    return lambda session: [
        (key.id, f"{key.state} {key.registry or ''}".rstrip())
        for key in signing_keys.listed(session)
        if key.role == role
    ]


SIGNING_KEY = Id("a signing key", "key list", _keys("signing key"))


AUTHORITY = Id("an authority", "key list", _keys("authority"))


class Duration(click.ParamType["timedelta | None"]):
    """A number and a unit; with ``never`` allowed, that word is None. ``zero`` allows 0m."""

    name = "duration"

    def __init__(self, *, never: bool = False, zero: bool = False) -> None:
        self.never = never
        self.zero = zero

    def convert(
        self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta | None:
        if isinstance(value, timedelta):
            return value
        if self.never and value == "never":
            return None
        matched = re.fullmatch(r"(\d{1,5})([mhdw])", value)
        length = timedelta(**{_UNITS[matched[2]]: int(matched[1])}) if matched else None
        if length is None or length > _MAX or (not length and not self.zero):
            never = ", or never" if self.never else ""
            self.fail(f"{value!r} is no duration: write 30m, 12h, 90d or 4w{never}", param, ctx)
        return length


class Moment(click.ParamType["datetime"]):
    """A date (its beginning, UTC), a time with its zone, or a duration from now, or before now."""

    name = "time"

    def __init__(self, *, past: bool = False) -> None:
        self.sign, self.side = (-1, "ago") if past else (1, "from now")

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        if re.fullmatch(r"\d{1,5}[mhdw]", value):
            length = Duration().convert(value, param, ctx)
            return (now() + self.sign * (length or timedelta())).replace(microsecond=0)
        try:
            return parse_time(value).replace(microsecond=0)
        except Refused as error:
            self.fail(f"{error}; or 30d, {self.side}", param, ctx)


class Values(click.Choice[str]):
    """Takes the values of an enumeration, and gives its members."""

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__([member.value for member in kind])
        self.kind = kind

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> StrEnum:
        return self.kind(super().convert(value, param, ctx))

"""Durations and times on the command line: 90d, 12h, 30m; 2026-12-31, 2026-12-31T18:00Z."""

import re
from datetime import datetime, timedelta

import click

from authserver.cli.context import now
from authserver.core.conditions import moment
from authserver.core.errors import Refused

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MAX = timedelta(days=3650)


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
            return moment(value).replace(microsecond=0)
        except Refused as error:
            self.fail(f"{error}; or 30d, {self.side}", param, ctx)

"""Times as people write and read them: in rules, policy files, options and messages."""

import re
from datetime import UTC, datetime, timedelta

from authserver.core.errors import Refused

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(text: str) -> datetime:
    """Read a date (its beginning, UTC) or a time with its zone.

    Raises:
        Refused: the text is neither.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{text!r} is no time: write 2026-12-31 or 2026-12-31T18:00Z") from None
    if time.tzinfo is None and (len(text) > len("2026-12-31") or "T" in text.upper()):
        raise Refused(f"{text!r} has no zone: write {text}Z for UTC")
    return in_utc(time if time.tzinfo else time.replace(tzinfo=UTC))


def moment(text: str, now: datetime) -> datetime:
    """Read a time as :func:`parse_time`, or how long from ``now`` it is, as 30d."""
    matched = re.fullmatch(r"(\d{1,5})([mhdw])", text, re.ASCII)
    if matched is None:
        return parse_time(text)
    return now.replace(microsecond=0) + timedelta(**{_UNITS[matched[2]]: int(matched[1])})


def in_utc(time: datetime) -> datetime:
    """Return a time in UTC, as all times are compared and stored.

    Raises:
        Refused: UTC has no such time, which happens in the first and last hours of all years.
    """
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise Refused(f"{time.isoformat()} is out of range") from None


def format_time(time: datetime) -> str:
    """Return a time as messages and rules write it, to the second."""
    # strftime writes the year 1 as 1, which parse_time refuses.
    return time.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"

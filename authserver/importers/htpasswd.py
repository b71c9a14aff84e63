"""htpasswd files: what each line holds, and why it cannot be taken if it cannot."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from authserver.core.errors import Refused
from authserver.core.names import account_name, printable
from authserver.core.password_rules import cost_of

MAX_COST = 16
"""A hash of a higher cost would make every failed login of anybody take that long."""

_OTHER_FORMATS = (
    (r"\$apr1\$", "MD5 (apr1)"),
    (r"\$1\$", "MD5 (crypt)"),
    (r"\{SHA\}", "SHA-1"),
    (r"\{SSHA\}", "salted SHA-1"),
    (r"\$5\$", "SHA-256 (crypt)"),
    (r"\$6\$", "SHA-512 (crypt)"),
    (r"\$y\$|\$7\$", "scrypt or yescrypt"),
    (r"\$argon2", "Argon2"),
    (r"[./0-9A-Za-z]{13}$", "crypt (DES)"),
)


@dataclass(frozen=True, slots=True)
class HtpasswdEntry:
    """A line that can be taken: a name and a bcrypt hash."""

    line: int
    name: str
    hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnusableLine:
    """A line that cannot be taken. ``name`` is printable; the hash is never repeated."""

    line: int
    name: str
    reason: str


def parse(content: bytes) -> Iterator[HtpasswdEntry | UnusableLine]:
    """Read a file as Distribution does: of two lines for one name the later one counts."""
    found = [_line(n, raw) for n, raw in enumerate(content.splitlines(), 1) if _speaks(raw)]
    last = {item.name: item.line for item in found}
    for item in found:
        if last[item.name] == item.line:
            yield item
        else:
            yield UnusableLine(item.line, item.name, f"line {last[item.name]} has the same name")


def _speaks(raw: bytes) -> bool:
    return bool(raw.strip()) and not raw.lstrip().startswith(b"#")


def _line(number: int, raw: bytes) -> HtpasswdEntry | UnusableLine:
    try:
        text = raw.decode().removeprefix("\ufeff").strip()
    except UnicodeDecodeError:
        before, colon, _ = raw.partition(b":")
        return UnusableLine(
            number, ascii(before)[2:-1] if colon else "", "the line is not UTF-8 text"
        )
    shown, separator, stored = text.partition(":")
    if not separator:
        return UnusableLine(number, "", "there is no colon in the line")
    stored = stored.partition(":")[0]
    try:
        name = account_name(shown)
    except Refused as error:
        return UnusableLine(number, printable(shown), str(error))
    if problem := hash_problem(stored):
        return UnusableLine(number, name, problem)
    return HtpasswdEntry(number, name, stored)


def hash_problem(stored: str) -> str | None:
    """Return why a password's hash cannot be taken; None if it can. The hash is not repeated."""
    try:
        cost = cost_of(stored)
    except Refused:
        return _form(stored)
    return f"a bcrypt cost of {cost} is over {MAX_COST}: set it anew" if cost > MAX_COST else None


def _form(stored: str) -> str:
    for pattern, name in _OTHER_FORMATS:
        if re.match(pattern, stored):
            return f"hashed with {name}: only bcrypt (htpasswd -B) can be taken"
    return "no hash of a known form: only bcrypt (htpasswd -B) can be taken"

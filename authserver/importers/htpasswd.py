"""Read htpasswd files: names with bcrypt hashes, and lines that cannot be imported."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from authserver.core.errors import Refused
from authserver.core.names import account_name, printable
from authserver.core.password_rules import cost_of

MAX_COST = 16
"""A hash of a higher cost would make every failed login take as long as its verification."""

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
    """A line that can be imported: a name and a bcrypt hash."""

    line: int
    name: str
    hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnusableLine:
    """A line that cannot be imported. ``name`` is printable; the hash is not repeated."""

    line: int
    name: str
    reason: str


def parse(content: bytes) -> Iterator[HtpasswdEntry | UnusableLine]:
    """Yield a file's lines as Distribution reads them: of two for one name the later counts."""
    lines = enumerate(content.splitlines(), 1)
    items = [_line(number, raw) for number, raw in lines if _has_entry(raw)]
    last = {item.name: item.line for item in items}
    for item in items:
        if last[item.name] == item.line:
            yield item
        else:
            yield UnusableLine(item.line, item.name, f"line {last[item.name]} has the same name")


def _has_entry(raw: bytes) -> bool:
    return bool(raw.strip()) and not raw.lstrip().startswith(b"#")


def _line(number: int, raw: bytes) -> HtpasswdEntry | UnusableLine:
    try:
        text = raw.decode().removeprefix("\ufeff").strip()
    except UnicodeDecodeError:
        before, colon, _ = raw.partition(b":")
        return UnusableLine(
            number, ascii(before)[2:-1] if colon else "", "the line is not UTF-8 text"
        )
    field_name, separator, stored = text.partition(":")
    if not separator:
        return UnusableLine(number, "", "there is no colon in the line")
    stored = stored.partition(":")[0]
    try:
        name = account_name(field_name)
    except Refused as error:
        return UnusableLine(number, printable(field_name), str(error))
    if problem := hash_problem(stored):
        return UnusableLine(number, name, problem)
    return HtpasswdEntry(number, name, stored)


def hash_problem(stored: str) -> str | None:
    """Return why a hash cannot be imported, None if it can. The text does not repeat the hash."""
    try:
        cost = cost_of(stored)
    except Refused:
        return _foreign_format(stored)
    return f"a bcrypt cost of {cost} is over {MAX_COST}: set it anew" if cost > MAX_COST else None


def _foreign_format(stored: str) -> str:
    for pattern, name in _OTHER_FORMATS:
        if re.match(pattern, stored):
            return f"hashed with {name}: only bcrypt (htpasswd -B) can be taken"
    return "no hash of a known form: only bcrypt (htpasswd -B) can be taken"

"""Read htpasswd files: names with bcrypt hashes, and lines that cannot be imported.

A hash is read as golang.org/x/crypto/bcrypt reads it, which registries and docker_auth use: any
minor version, and nothing after its 31 characters counts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from authserver.core.errors import Refused
from authserver.core.names import account_name, printable
from authserver.core.password_rules import MIN_COST, is_hash

MAX_COST = 16
"""A hash of a higher cost would make every failed login take as long as its verification."""

_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_BCRYPT = re.compile(
    r"\$2[^$\s]?\$(?P<cost>\d\d)\$(?P<salt>[./A-Za-z0-9]{22})(?P<digest>[./A-Za-z0-9]{31})"
)
IMPORTED = "$2y$"
"""How imported hashes begin. Hashes that are made here begin with ``$2b$``."""

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


def parse(content: bytes, file: str) -> Iterator[HtpasswdEntry | UnusableLine]:
    """Yield a file's lines as Distribution reads them: of two for one name the later counts.

    Raises:
        Refused: no line is one of an htpasswd file; the message calls it ``file``.
    """
    if problem := _file_problem(content):
        raise Refused(f"{file}: {problem}")
    lines = enumerate(content.splitlines(), 1)
    items = [_line(number, raw) for number, raw in lines if _has_entry(raw)]
    last = {item.name: item.line for item in items}
    for item in items:
        if last[item.name] == item.line:
            yield item
        else:
            yield UnusableLine(item.line, item.name, f"line {last[item.name]} has the same name")


def _file_problem(content: bytes) -> str | None:
    """Return why this is no htpasswd file at all, None if it may be one."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        return "this is UTF-16, or no text: `iconv -f UTF-16 -t UTF-8` makes it readable"
    lines = [raw for raw in content.splitlines() if _has_entry(raw)]
    hashes = (_stored(raw.decode("utf-8", "replace")) for raw in lines)
    if lines and not any(_BCRYPT.match(each) or _is_foreign(each) for each in hashes):
        return "this is no htpasswd file: no line has the form NAME:HASH"
    return None


def _stored(text: str) -> str:
    return text.partition(":")[2]


def _is_foreign(stored: str) -> bool:
    return stored.startswith("$2") or any(re.match(form, stored) for form, _ in _OTHER_FORMATS)


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
    field_name, separator, _ = text.partition(":")
    if not separator:
        return UnusableLine(number, "", "there is no colon in the line")
    name = field_name
    try:
        name = account_name(field_name)
        return HtpasswdEntry(number, name, imported_hash(_stored(text)))
    except Refused as error:
        return UnusableLine(number, printable(name), str(error))


def imported_hash(text: str) -> str:
    """Return the bcrypt hash at the beginning of a text, as it is stored here.

    Raises:
        Refused: it has no such hash, or its cost is over MAX_COST. The message leaves the text out.
    """
    found = _BCRYPT.match(text)
    if found is None:
        raise Refused(_other_format(text))
    cost = int(found["cost"])
    if cost > MAX_COST:
        raise Refused(f"a bcrypt cost of {cost} is over {MAX_COST}: set it anew")
    # Two bits of the salt's last character count. Go takes any others, our bcrypt only zeros.
    last = _ALPHABET[_ALPHABET.index(found["salt"][-1]) & 0b110000]
    stored = f"{IMPORTED}{cost:02}${found['salt'][:-1]}{last}{found['digest']}"
    if not is_hash(stored):
        raise Refused(f"a bcrypt cost of {cost} is under {MIN_COST}: no registry takes it")
    return stored


def _other_format(stored: str) -> str:
    if stored.startswith("$2"):
        return f"a damaged bcrypt hash of {len(stored)} characters: a whole one has 60"
    for pattern, name in _OTHER_FORMATS:
        if re.match(pattern, stored):
            return f"hashed with {name}: only bcrypt (htpasswd -B) can be taken"
    return "no hash of a known form: only bcrypt (htpasswd -B) can be taken"

"""HMACs over audit records. Each covers the one before it, so that none can be taken out unseen."""

import hmac
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

KEY_BYTES = 32

# What a column is called outside, where that is another word.
_NAMES = {"service": "registry", "jwt_id": "jti"}


class RecordKind(StrEnum):
    """What a record is about."""

    CHANGE = "change"
    TOKEN = "token"  # noqa: S105 - a kind of record


# What is made for each record is a tuple: a frozen dataclass takes three times as long to make.
class Head(NamedTuple):
    """A place in a chain: how many records it had by then, and the HMAC of the last, in hex."""

    seq: int
    mac: str


class Link(NamedTuple):
    """One record in its place in a chain; ``text`` is what it says, a JSON object.

    A record from before there were chains has no place in one: neither chain nor head.
    """

    chain: str | None
    head: Head
    kind: RecordKind
    text: str

    @property
    def line(self) -> str:
        """Return the record as the second copy and ``audit export`` have it."""
        place = {"chain": self.chain, "seq": self.head.seq, "mac": self.head.mac, "kind": self.kind}
        return f"{json.dumps(place)[:-1]}, {self.text[1:]}"


@dataclass(frozen=True, slots=True)
class ChainMark:
    """What is sealed of one chain, and where it begins since its oldest records were pruned.

    ``record`` is the sealed head's row.
    """

    chain: str
    sealed: Head
    record: int | None
    trimmed: Head


@dataclass(frozen=True)
class AuditKey:
    """Makes the HMACs. It is sealed in the store, so it outlives a change of the master key."""

    secret: bytes = field(repr=False)

    def genesis(self, chain: str) -> Head:
        """Return where a new chain stands before its first record."""
        return Head(0, _hex(self._derived["genesis"], chain))

    def link(self, chain: str, before: Head, kind: RecordKind, text: str) -> Link:
        """Return the record ``text`` as the one that follows ``before``."""
        return next(self.links(chain, before, kind, [text]))

    def links(
        self, chain: str, before: Head, kind: RecordKind, texts: Iterable[str]
    ) -> Iterator[Link]:
        """Give the records ``texts`` as those that follow ``before``, one after the other."""
        key, where = self._derived["record"], f"{kind.value} {chain}"
        seq, mac = before
        for text in texts:
            seq += 1
            mac = _hex(key, f"{mac} {seq} {where}\n{text}")
            yield Link(chain, Head(seq, mac), kind, text)

    def mark(self, mark: ChainMark) -> str:
        """Return the HMAC of a chain's mark."""
        ends = [mark.sealed.seq, mark.sealed.mac, mark.trimmed.seq, mark.trimmed.mac]
        return _hex(self._derived["mark"], json.dumps([mark.chain, mark.record, *ends]))

    def checkpoint(self, number: int, at: datetime, marks: Iterable[str]) -> str:
        """Return the HMAC of a checkpoint, which covers the marks of all chains, in order."""
        content = json.dumps([number, at.astimezone(UTC).isoformat(), *marks])
        return _hex(self._derived["checkpoint"], content)

    def resumed(self, chain: str, before: str, seq: int) -> Head:
        """Return where a chain goes on after the HMAC ``before`` without what was up to ``seq``.

        So versions with `audit accept` went on where records were missing; logs still have that.
        """
        return Head(seq, _hex(self._derived["resumed"], f"{before} {seq} {chain}"))

    @cached_property
    def _derived(self) -> dict[str, bytes]:
        purposes = ("genesis", "record", "mark", "checkpoint", "resumed")
        return {purpose: self._expanded(f"authserver audit {purpose}") for purpose in purposes}

    def _expanded(self, info: str) -> bytes:
        return HKDFExpand(SHA256(), KEY_BYTES, info.encode()).derive(self.secret)


def same(one: str, other: str) -> bool:
    """Whether two HMACs are the same."""
    # One may come from whatever file, with half a surrogate pair in it.
    return hmac.compare_digest(*(mac.encode(errors="surrogatepass") for mac in (one, other)))


def text(values: Mapping[str, Any]) -> str:
    """Return what a record says, in the one form over which HMACs are made.

    What is None is left out: a column that comes later, and may be None, leaves the HMACs of older
    records as they are.
    """
    return _encode({_NAMES.get(name, name): v for name, v in values.items() if v is not None})


class Form:
    """The same for records that all have ``columns``, in a fraction of the time.

    A record is the values of the columns in their order.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        named = sorted((_NAMES.get(name, name), index) for index, name in enumerate(columns))
        self._keys = [(f"{_encode(name)}: ", index) for name, index in named]

    def text(self, values: Sequence[Any]) -> str:
        """Return what :func:`text` returns."""
        parts = [
            key + encoded(value)
            for key, index in self._keys
            if (value := values[index]) is not None
        ]
        return f"{{{', '.join(parts)}}}"

    def template(self, values: Sequence[Any], own: Collection[int]) -> str:
        """Return a template for the texts of records that differ only in the columns ``own``.

        ``template % values`` is what :meth:`text` returns. The values are :func:`encoded`, and in
        the order of the columns' names outside. Those that are None here are None in each record.
        """
        parts = [
            key.replace("%", "%%")
            + ("%s" if index in own else encoded(values[index]).replace("%", "%%"))
            for key, index in self._keys
            if values[index] is not None
        ]
        return f"{{{', '.join(parts)}}}"


def encoded(value: object) -> str:
    """Return a value as the text of a record has it."""
    if type(value) is str:
        return encode_basestring_ascii(value)
    return f'"{_plain(value)}"' if isinstance(value, datetime) else _encode(value)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"a {type(value).__name__} cannot be recorded")


# Made once: json.dumps makes one anew each time.
_encode = json.JSONEncoder(sort_keys=True, default=_plain).encode


def _hex(key: bytes, message: str) -> str:
    return hmac.digest(key, message.encode(), sha256).hex()

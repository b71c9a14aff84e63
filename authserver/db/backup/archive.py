"""Records in one file: JSON lines, compressed by gzip, encrypted with a passphrase by age.

age is a format that others read too: ``age -d FILE | gunzip`` gives the lines
(https://age-encryption.org/v1).
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any

import pyrage

from authserver.core.errors import Refused

MIN_PASSPHRASE = 12
"""Characters. Somebody who has the file can try passphrases without any limit."""

PIECE = 1 << 20

MAX_LINE, MAX_VALUES = 64 << 20, 5_000_000
"""Bytes of a line, and values in it: a file of half a megabyte can hold one that fills the memory.

One row has at most the record of a rule that was changed from one policy file as large as may be to
another.
"""

_GZIP = b"\x1f\x8b"
_AGE = b"age-encryption.org/"


def pack(records: Iterable[dict[str, Any]], passphrase: str) -> bytes:
    """Return the file that holds ``records``; it is made in memory."""
    compressed = BytesIO()
    with gzip.GzipFile(fileobj=compressed, mode="wb", mtime=0) as file:
        for record in records:
            for line in _lines(record):
                file.write(line)
    return bytes(pyrage.passphrase.encrypt(compressed.getvalue(), passphrase))


def _lines(record: dict[str, Any]) -> Iterator[bytes]:
    """Give a record as a line, or several of which each has a part of its rows."""
    line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
    rows = record.get("rows")
    if len(line) <= MAX_LINE or not isinstance(rows, list) or len(rows) < 2:
        yield line
        return
    half = len(rows) // 2
    for part in (rows[:half], rows[half:]):
        yield from _lines(record | {"rows": part})


def is_encrypted(content: bytes) -> bool:
    """Whether a file needs a passphrase; without one it was decrypted by age already.

    Raises:
        Refused: it is neither.
    """
    if content.startswith(_AGE):
        return True
    if content.startswith(_GZIP):
        return False
    raise Refused("it is no backup of authserver: neither encrypted by age nor compressed by gzip")


def decrypt(content: bytes, passphrase: str) -> bytes:
    """Return what ``content`` was before it was encrypted.

    Raises:
        Refused: the passphrase is another, or the file is damaged.
    """
    try:
        return bytes(pyrage.passphrase.decrypt(content, passphrase))
    except pyrage.DecryptError as error:
        raise Refused(
            f"it cannot be decrypted ({error}): the passphrase is another, or the file is damaged"
        ) from None


def unpack(compressed: bytes) -> Iterator[dict[str, Any]]:
    """Give the records of a decrypted file.

    Raises:
        Refused: it is damaged.
    """
    try:
        # Its checksum is at the end; what is wrong before it would be taken for rows that misfit.
        with gzip.GzipFile(fileobj=BytesIO(compressed)) as file:
            while file.read(PIECE):
                pass
        with gzip.GzipFile(fileobj=BytesIO(compressed)) as file:
            while line := file.readline(MAX_LINE + 1):
                yield _record(line)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        raise Refused(f"it is damaged: {error}") from None


def _record(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE or line.count(b",") > MAX_VALUES:
        raise Refused(
            f"it has a line of more than {MAX_LINE >> 20} MiB or {MAX_VALUES} values, which no "
            "backup has"
        )
    record = json.loads(line)
    if not isinstance(record, dict):
        raise Refused("it is no backup of authserver")
    return record

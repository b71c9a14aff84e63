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
"""Characters. Whoever has the file can try passphrases for as long as he likes."""

PIECE = 1 << 20

_GZIP = b"\x1f\x8b"
_AGE = b"age-encryption.org/"


def pack(records: Iterable[dict[str, Any]], passphrase: str) -> bytes:
    """Return the file that holds ``records``; it is made in memory."""
    compressed = BytesIO()
    with gzip.GzipFile(fileobj=compressed, mode="wb", mtime=0) as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    return bytes(pyrage.passphrase.encrypt(compressed.getvalue(), passphrase))


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
            for line in file:
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise Refused("it is no backup of authserver")
                yield record
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise Refused(f"it is damaged: {error}") from None

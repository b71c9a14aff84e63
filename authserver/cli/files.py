"""Files that commands read."""

import sys
from pathlib import Path

from authserver.core.errors import Refused

STDIN = Path("-")


def read_input(file: Path) -> bytes:
    """Return a file's content, or standard input's for ``-``.

    Raises:
        Refused: it cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    except OSError as error:
        raise Refused(f"the file {file} cannot be read: {error.strerror}") from None


def write_output(file: Path, content: str) -> None:
    """Write a file.

    Raises:
        Refused: it cannot be written.
    """
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise Refused(f"the file {file} cannot be written: {error.strerror}") from None

"""Read a registry's file, up to a size that no such file has."""

from pathlib import Path

from authserver.core.errors import Refused

MAX_BYTES = 1024 * 1024


def contents(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        Refused: the file cannot be read, or is larger than MAX_BYTES.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise Refused(f"{path} is larger than {MAX_BYTES} bytes")
    return raw

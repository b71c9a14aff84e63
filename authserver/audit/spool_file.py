"""One file of the spool: lines that are appended at its end and read from its beginning.

Whoever holds a file has a lock on it, which ends with its process.
"""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".jsonl"
DAMAGED = ".damaged"
READ_BYTES = 1 << 20
"""So much is read at a time; no line is as long."""

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class SpoolFile:
    """A file and how far it was read. ``bad`` counts lines that could not be understood.

    Every method raises OSError where the disk fails.
    """

    path: Path
    descriptor: int
    size: int = 0
    offset: int = 0
    bad: int = 0

    def append(self, data: bytes) -> None:
        """Write whole lines, to the disk; all of them or none."""
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self.descriptor, data[done:], self.size + done)
            os.fsync(self.descriptor)
        except OSError:
            os.ftruncate(self.descriptor, self.size)
            raise
        self.size += len(data)

    def read(self) -> tuple[list[bytes], int]:
        """Return the next lines, and the offset at which they end."""
        raw = os.pread(self.descriptor, READ_BYTES, self.offset)
        whole, newline, _ = raw.rpartition(b"\n")
        if not newline:
            # A process was killed while it wrote the last line.
            return [raw], self.size
        return whole.split(b"\n"), self.offset + len(whole) + 1

    def close(self) -> None:
        """Let go of the file, and remove it; one with bad lines is kept under another name."""
        if self.bad:
            self.path.rename(self.path.with_suffix(DAMAGED))
        else:
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def create(directory: Path) -> SpoolFile:
    """Make a file for this process."""
    path = directory / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
    descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return SpoolFile(path, descriptor)


def left_behind(directory: Path) -> Iterator[SpoolFile]:
    """Take over the files of processes that have ended; what another user put there is not ours."""
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        # Another process may be done with it by now.
        with suppress(FileNotFoundError):
            if (file := _taken(path)) is not None:
                yield file


def _taken(path: Path) -> SpoolFile | None:
    status = path.lstat()
    if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
        return None
    descriptor = os.open(path, _FLAGS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return SpoolFile(path, descriptor, os.fstat(descriptor).st_size)

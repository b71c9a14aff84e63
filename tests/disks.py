"""Small disks, to be filled: file systems in memory, which only root may mount."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MIB = 1 << 20


@dataclass(frozen=True)
class Disk:
    """A disk that is mounted at ``path``."""

    path: Path

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.path).free

    def fill(self, leaving: int = 0) -> None:
        """Take all space but so many bytes, as another program may."""
        taken = max(0, self.free - leaving)
        with (self.path / "another's").open("ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), taken) if taken else None

    def clear(self) -> None:
        """Give back what was taken."""
        (self.path / "another's").unlink(missing_ok=True)


@contextmanager
def small_disk(mib: int) -> Iterator[Disk]:
    """Mount a disk of so many MiB until the block ends."""
    # Not under pytest's directories: PostgreSQL's user may not enter them.
    path = Path(tempfile.mkdtemp(prefix="authserver-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "tmpfs", str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        if done.returncode == 0:
            yield Disk(path)
        else:
            _missing(f"no small disk can be mounted here: {done.stderr.strip()}")
    finally:
        if done.returncode == 0:
            # Whoever still has a file open there does not keep it.
            subprocess.run(["umount", "--lazy", str(path)], check=True)
        path.rmdir()


def _missing(why: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)

"""The process: how many processors it may use, and keeping its memory private."""

import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
MOST = 256
"""More than that are not asked for, as with AUTHSERVER_WORKERS."""

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4


def available_processors(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Return how many processors this process can keep busy, at least one.

    Its affinity counts, and the limits of its control groups, as containers have them. A part of a
    processor counts as one.
    """
    limits = map(_limit, _directories(cgroups, own))
    return min(len(os.sched_getaffinity(0)), *(ceil(limit) for limit in limits if limit), MOST)


def _directories(cgroups: Path, own: Path) -> Iterator[Path]:
    """Yield the directories that may have limits: the process's groups and all above, in cgroup 2
    and 1."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root = cgroups
        elif "cpu" in controllers.split(","):
            root = cgroups / "cpu"
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        # In a container the path may be the host's: then only the root is there.
        for part in (group, *group.parents):
            yield root / part


def _limit(directory: Path) -> float | None:
    """Return the processors that a group may use; None where it has no limit."""
    try:
        if (newer := directory / "cpu.max").exists():
            quota, period = newer.read_text().split()
        else:
            quota = (directory / "cpu.cfs_quota_us").read_text()
            period = (directory / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such file, or "max"
        return None


def keep_memory_private() -> None:
    """Have the kernel write no core dump of this process: it may hold private keys and passwords.

    Where core dumps go to a program, the limit alone does not hold (core(5)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """Have the kernel stop this process when its parent ends: nothing else would."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

"""How many processors there are for this process: what it may use, not what the machine has."""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
MOST = 256
"""More than that are not asked for, as with AUTHSERVER_WORKERS."""


def available(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Return how many processors this process can keep busy, at least one.

    That is by its affinity, and by the limits of its control groups, as containers have them: a
    part of a processor counts as one.
    """
    limits = map(_limit, _directories(cgroups, own))
    return min(len(os.sched_getaffinity(0)), *(ceil(limit) for limit in limits if limit), MOST)


def _directories(cgroups: Path, own: Path) -> Iterator[Path]:
    """Yield where limits may be: the process's groups and all above, in version 2 and 1."""
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
    except (OSError, ValueError):  # there is none; or "max"
        return None

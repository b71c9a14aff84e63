"""The machine: what it is, how busy others keep it, and what its operations cost at least."""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import bcrypt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

TICKS = os.sysconf("SC_CLK_TCK")
LIBRARIES = ("bcrypt", "cryptography", "flask", "granian", "pyjwt", "sqlalchemy", "werkzeug")
MESSAGE = b"x" * 1300
"""As long as what is signed of a usual token."""


def cores() -> int:
    return len(os.sched_getaffinity(0))


def described() -> dict[str, object]:
    """Return what figures depend on."""
    return {
        "cores": cores(),
        "processor": _processor(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        **{name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def es256_rate(seconds: float) -> float:
    """Return how many ES256 signatures one core makes in a second of processor time."""
    private, algorithm = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
    return _rate(lambda: private.sign(MESSAGE, algorithm), seconds)


def bcrypt_rate(cost: int, seconds: float) -> float:
    """Return how many passwords one core checks in a second of processor time."""
    stored = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(cost))
    return _rate(lambda: bcrypt.checkpw(b"correct horse", stored), seconds)


def _rate(operation: Callable[[], object], seconds: float) -> float:
    operation()
    began, done = time.process_time(), 0
    while (taken := time.process_time() - began) < seconds:
        operation()
        done += 1
    return done / taken


@dataclass(frozen=True)
class Busy:
    """Processor seconds since the machine started: of everybody, and of some processes."""

    everybody: float
    ours: float

    @classmethod
    def now(cls, pids: Iterable[int]) -> "Busy":
        """Look at the machine; ``pids`` and this process, with its ended children, are ours."""
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        user, nice, system, _idle, _iowait, irq, softirq = map(int, first[:7])
        mine = os.times()
        ours = mine.user + mine.system + mine.children_user + mine.children_system
        everybody = (user + nice + system + irq + softirq) / TICKS
        return cls(everybody, ours + sum(map(cpu_seconds, pids)))

    def others_since(self, before: "Busy") -> float:
        """Return the processor seconds that others took meanwhile."""
        return max(0.0, (self.everybody - before.everybody) - (self.ours - before.ours))


def cpu_seconds(pid: int) -> float:
    """Return how long a process has worked so far, without its children; 0 if it has ended."""
    try:
        fields = stat_fields(pid)
    except OSError:  # such as one of PostgreSQL's, which come and go
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def stat_fields(pid: int) -> list[str]:
    """Return what proc(5) says of a process, from its state on."""
    # The name before may hold spaces and parentheses.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")

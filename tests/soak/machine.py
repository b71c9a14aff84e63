"""Where a run took place."""

import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime

from bench import machine
from tests.postgres import programs
from tests.programs import which


def versions() -> dict[str, object]:
    """Return the machine, the versions and the time."""
    told = {
        "PostgreSQL": [f"{programs()}/postgres", "--version"],
        "nginx": [str(which("nginx")), "-v"],
        "Redis": ["redis-server", "--version"],
    }
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%MZ"),
        **machine.described(),
        **{name: _version(command) for name, command in told.items()},
    }


def listed(versions: Mapping[str, object]) -> str:
    """Return them as a list."""
    return "\n".join(f"- {name}: {value}" for name, value in versions.items())


def _version(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).strip()

"""The process: its processors by affinity and control groups, and core dumps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from authserver.runtime import process

PRINT = """
import ctypes, resource
from authserver.runtime import process
process.keep_memory_private()
PR_GET_DUMPABLE = 3
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(PR_GET_DUMPABLE))
"""


@pytest.fixture(autouse=True)
def eight_in_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def group(directory: Path, **files: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("_", ".", 1)).write_text(text)


def available(tmp_path: Path, own: str) -> int:
    (tmp_path / "own").write_text(own)
    return process.available_processors(tmp_path, tmp_path / "own")


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("max 100000", 8),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
        ("nonsense", 8),
    ],
)
def test_a_limit_of_its_group_counts(tmp_path: Path, limit: str, expected: int) -> None:
    group(tmp_path / "kubepods/pod1", cpu_max=limit)
    assert available(tmp_path, "0::/kubepods/pod1\n") == expected


def test_so_does_one_of_a_group_above(tmp_path: Path) -> None:
    group(tmp_path / "a/b", cpu_max="max 100000")
    group(tmp_path / "a", cpu_max="300000 100000")
    assert available(tmp_path, "0::/a/b\n") == 3


def test_in_a_container_the_root_is_its_own_group(tmp_path: Path) -> None:
    """The path may be the host's, which is not to be seen."""
    group(tmp_path, cpu_max="400000 100000")
    assert available(tmp_path, "0::/docker/0123\n") == 4
    assert available(tmp_path, "0::/\n") == 4


@pytest.mark.parametrize(("quota", "expected"), [("250000", 3), ("-1", 8)])
def test_version_1_has_two_files(tmp_path: Path, quota: str, expected: int) -> None:
    files = {"cpu_cfs_quota_us": f"{quota}\n", "cpu_cfs_period_us": "100000\n"}
    group(tmp_path / "cpu" / "docker", **files)
    assert available(tmp_path, "12:pids:/docker\n4:cpu,cpuacct:/docker\n0::/\n") == expected


def test_without_control_groups_it_is_the_affinity(tmp_path: Path) -> None:
    assert process.available_processors(tmp_path, tmp_path / "none") == 8


def test_a_process_that_keeps_its_memory_private_is_not_dumped() -> None:
    done = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, text=True, check=True)
    assert done.stdout == "(0, 0) 0\n"

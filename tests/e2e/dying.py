"""``python -m tests.e2e.dying DATA_DIR EVERY COMMAND…`` kills a command at its steps.

A step is a statement to SQLite, or a file that is made, linked, renamed, written through or
removed. Each time the command begins anew with a copy of the installation, and is killed EVERY
steps later, until it ends by itself. Each time the store is checked and a key rotated, by whole
commands. The number of steps is printed, and after which of them what was left could not be used.
"""

import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from authserver.cli import cli

FILES = {"fsync", "link", "open", "replace", "unlink", "write"}


def is_step(called: Any) -> bool:
    if isinstance(getattr(called, "__self__", None), sqlite3.Cursor | sqlite3.Connection):
        return True
    return getattr(called, "__module__", "") == "posix" and called.__name__ in FILES


def dying_at(step: int) -> Callable[[FrameType, str, Any], None]:
    left = step

    def watch(_: FrameType, event: str, called: Any) -> None:
        nonlocal left
        if event == "c_call" and is_step(called):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return watch


def status(command: list[str]) -> int:
    try:
        cli(command)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def ended(*commands: list[str], at: int | None = None) -> int:
    """Run commands in a process of its own, killed at a step; return how it ended."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        if at is not None:
            sys.setprofile(dying_at(at))
        os._exit(max(map(status, commands)))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def load_all(installation: Path, command: list[str]) -> None:
    """Run every command once, so that those that are killed need not load anything."""
    with TemporaryDirectory() as place:
        os.environ["AUTHSERVER_DATA_DIR"] = str(shutil.copytree(installation, Path(place) / "data"))
        for whole in (command, ["db", "check"], ["key", "rotate"]):
            cli(whole, standalone_mode=False)


def main(installation: Path, every: int, command: list[str]) -> None:
    load_all(installation, command)
    step, wrong = 1, []
    while True:
        with TemporaryDirectory() as place:
            data_dir = shutil.copytree(installation, Path(place) / "data")
            os.environ["AUTHSERVER_DATA_DIR"] = str(data_dir)
            end = ended(command, at=step)
            if ended(["key", "rotate"], ["db", "check"]):
                wrong.append(step)
        if end != -signal.SIGKILL:
            break
        step += every
    print(f"\n{step - 1} steps, unusable after {wrong}, ended with {end}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])

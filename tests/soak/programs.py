"""Run the end-to-end tests without each program in turn: they skip what needs it and pass.

The first run has all programs and notes which file of tests requires which. A test sees only the
programs that it requires, so only these files have to run again.
"""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.programs import PROGRAMS
from tests.soak.place import ROOT


def main() -> None:
    """Run, and exit with 1 if a run failed; `--quick` is one run without any of the programs."""
    if "--quick" in sys.argv:
        failures = [] if passes(hidden=sorted(PROGRAMS)) else ["all hidden"]
    else:
        failures = _each_in_turn()
    if failures:
        sys.exit("end-to-end tests failed with these programs hidden: " + ", ".join(failures))


def _each_in_turn() -> list[str]:
    with TemporaryDirectory() as directory:
        record = Path(directory) / "programs"
        failures = [] if passes("--record-programs", str(record)) else ["none"]
        files = by_program(record.read_text())
    for program in sorted(PROGRAMS):
        print(f"without {program}:", flush=True)
        if not files[program] or not passes(*sorted(files[program]), hidden=[program]):
            failures.append(program)
    return failures


def by_program(record: str) -> defaultdict[str, set[str]]:
    """Return the files of tests that require each program."""
    files = defaultdict[str, set[str]](set)
    for line in record.splitlines():
        file, program = line.rsplit(" ", 1)
        files[program].add(file)
    return files


def passes(*arguments: str, hidden: list[str] | None = None) -> bool:
    """Run pytest; tell whether no test failed."""
    options = [f"--hide={program}" for program in hidden or ()]
    command = ["pytest", "-q", "-m", "e2e", "-n", "auto", "--dist", "loadfile"]
    # There a test that is skipped fails.
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-m", *command, *options, *arguments], cwd=ROOT, env=environ, check=False
    )
    return done.returncode == 0


if __name__ == "__main__":
    main()

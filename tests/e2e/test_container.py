"""The image: built from a base of Debian packages, run as it is meant to be run."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.fetching import ask_for_token, fetch
from tests.programs import free_port, require, which
from tests.world import wait_until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PASSWORD = "the container's administrator"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Engine:
    """buildah and podman over one store of their own."""

    store: Path

    @property
    def _where(self) -> list[str]:
        place = ["--root", str(self.store / "root"), "--runroot", str(self.store / "run")]
        return [*place, "--storage-driver", "vfs"]

    def buildah(self, *args: str, cwd: Path = ROOT) -> str:
        return self._run("buildah", *self._where, *args, cwd=cwd)

    def podman(self, *args: str) -> str:
        return self._run("podman", *self._where, "--runtime", str(which("runc")), *args)

    def _run(self, *command: str, cwd: Path = ROOT) -> str:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
            cwd=cwd,
            env=os.environ | {"BUILDAH_ISOLATION": "chroot"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, name: str, volume: str, port: int, secrets: Path) -> None:
        """Run the image as the compose file does."""
        self.podman(
            "run", "--detach", "--name", name, "--network", "host",
            # The runtime may not raise limits where it has no right to.
            "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
            "--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL",
            "--security-opt", "no-new-privileges",
            "--volume", f"{volume}:/var/lib/authserver",
            "--volume", f"{secrets}:/run/secrets:ro",
            "--env", "AUTHSERVER_ADMIN_PASSWORD_FILE=/run/secrets/admin_password",
            "--env", f"AUTHSERVER_PORT={port}",
            "--env", "AUTHSERVER_PUBLIC_URL=https://auth.example.com",
            "authserver-test",
        )  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    require("buildah", "podman", "runc", "mmdebstrap")
    if os.geteuid() != 0:
        pytest.skip("building a base and running it without a bridge needs root")
    base = tmp_path_factory.mktemp("base") / "rootfs"
    subprocess.run(
        [
            str(which("mmdebstrap")), "--variant=apt",
            "--include=python3-venv,ca-certificates", "bookworm", str(base),
        ],
        check=True, capture_output=True, timeout=600,
    )  # fmt: skip
    # What this machine trusts, for the packages that the build fetches.
    shutil.copyfile(CERTIFICATES, base / CERTIFICATES.relative_to("/"))
    (base / "etc" / "pip.conf").write_text(f"[global]\ncert = {CERTIFICATES}\n")
    # Podman takes at most 50 characters for its run root.
    with TemporaryDirectory(prefix="image-") as store:
        made = Engine(Path(store))
        container = made.buildah("from", "scratch").strip()
        made.buildah("add", "-q", container, str(base), "/")
        made.buildah("commit", "-q", container, "localhost/base")
        made.buildah(
            "bud", "--network", "host", "--format", "docker",
            "--build-arg", "BASE=localhost/base", "-t", "localhost/authserver-test", ".",
        )  # fmt: skip
        yield made
        made.podman("rm", "--all", "--force")
        made.podman("rmi", "--all", "--force")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    place = tmp_path / "secrets"
    place.mkdir()
    (place / "admin_password").write_text(f"{PASSWORD}\n")
    for path in (tmp_path, place, place / "admin_password"):
        path.chmod(0o755)
    return place


def ready(port: int) -> bool:
    try:
        return fetch(f"http://127.0.0.1:{port}/readyz").status == 200
    except OSError:
        return False


def test_it_runs_as_a_numeric_user_on_a_read_only_file_system(
    engine: Engine, secrets: Path
) -> None:
    port = free_port()
    engine.start("one", "one", port, secrets)
    assert wait_until(lambda: ready(port), 30), engine.podman("logs", "one")
    assert "uid=10001(10001) gid=10001(10001)" in engine.podman("exec", "one", "id")
    assert engine.podman("exec", "one", "authserver", "health") == "ok\n"
    with pytest.raises(AssertionError, match="Read-only file system"):
        engine.podman("exec", "one", "touch", "/anything")
    realm = f"http://127.0.0.1:{port}/token"
    assert ask_for_token(realm, auth=("admin", PASSWORD), service="main").status == 200
    assert PASSWORD not in engine.podman("logs", "one")
    # It runs as a user who may look into none of its own processes.
    assert "cannot share memory" not in engine.podman("logs", "one")
    engine.podman("stop", "one")
    assert '"event": "stopped"' in engine.podman("logs", "one")


def test_two_that_start_at_once_set_one_store_up(engine: Engine, secrets: Path) -> None:
    ports = free_port(), free_port()
    engine.podman("volume", "create", "shared")
    for name, port in zip(("first", "second"), ports, strict=True):
        engine.start(name, "shared", port, secrets)
    for port in ports:
        assert wait_until(lambda port=port: ready(port), 30)
        assert (
            ask_for_token(
                f"http://127.0.0.1:{port}/token", auth=("admin", PASSWORD), service="main"
            ).status
            == 200
        )
    logs = engine.podman("logs", "first") + engine.podman("logs", "second")
    assert logs.count("set up a store in /var/lib/authserver/data, with the registry main") == 1


def test_the_image_says_how_to_tell_its_health(engine: Engine) -> None:
    shown = engine.podman("inspect", "--format", "{{.HealthCheck.Test}}", "authserver-test")
    assert "authserver health" in shown

"""A wheel that was built here and installed where nothing else is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from authserver.cli.examples import EXAMPLES
from tests.e2e.fetching import ask_for_token, fetch
from tests.e2e.lab import ADMIN
from tests.programs import Authserver, free_port

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PIP_SECONDS = 120


def _python(python: str | Path, *args: str | Path) -> None:
    # An empty environment sees neither this checkout nor what is installed beside it.
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [python, *args], env=environ, capture_output=True, timeout=PIP_SECONDS, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dist = tmp_path_factory.mktemp("dist")
    _python(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), ROOT)
    [built] = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authserver]:
    """The installed program, called from a directory with nothing in it."""
    place = tmp_path_factory.mktemp("installed")
    environment, empty = place / "venv", place / "empty"
    empty.mkdir()
    _python(sys.executable, "-m", "venv", environment)
    _python(environment / "bin/python", "-m", "pip", "install", "--quiet", str(wheel))
    yield Authserver(place / "data", program=[str(environment / "bin/authserver")], cwd=empty)
    assert not list(empty.iterdir())


def test_the_wheel_holds_the_migrations(wheel: Path) -> None:
    tracked = {path.name for path in (ROOT / "migrations/versions").glob("*.py")}
    with ZipFile(wheel) as packed:
        names = set(packed.namelist())
    assert tracked
    assert {f"authserver/db/migrations/versions/{name}" for name in tracked} <= names
    assert "authserver/db/migrations/env.py" in names
    assert not [name for name in names if name.startswith(("tests/", "migrations/"))]


def test_the_wheel_has_a_manual_page_of_each_command(wheel: Path) -> None:
    with ZipFile(wheel) as packed:
        pages = {
            Path(name).stem: packed.read(name) for name in packed.namelist() if "/man1/" in name
        }
    assert {f"authserver-{words.replace(' ', '-')}" for words in EXAMPLES} <= pages.keys()
    assert b".SH EXAMPLES" in pages["authserver-acl-allow"]
    assert rb"\-h, \-\-help" in pages["authserver-acl-allow"]


def test_an_empty_environment_sets_up_upgrades_and_serves(installed: Authserver) -> None:
    installed.run("init", "--admin-password-stdin", stdin=f"{ADMIN[1]}\n")
    installed.run("db", "upgrade")
    installed.run("db", "check")
    port = free_port()
    with installed.serving(port, "--workers", "2") as server:
        ready = fetch(f"http://127.0.0.1:{port}/readyz")
        assert (ready.status, ready.json()["status"]) == (200, "ok")
        assert ask_for_token(f"http://127.0.0.1:{port}/token", auth=ADMIN).status == 200
        assert server.stop() == 0

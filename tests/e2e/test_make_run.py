"""`make run` on a fresh clone, and again."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import programs
from tests.e2e.fetching import ask_for_token
from tests.programs import Process, free_port, running
from tests.world import wait_until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS = 240


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone would hold: what git tracks or would track."""
    programs.require("git", "make")
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    place = tmp_path_factory.mktemp("clone")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    return place


@pytest.fixture(scope="module")
def environ() -> dict[str, str]:
    """A user's environment: this test may itself be run by make, in a virtual environment."""
    foreign = ("AUTHSERVER_", "MAKE", "MFLAGS", "VIRTUAL_ENV", "PYTHON")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    port = str(free_port())
    return kept | {"PYTHON": sys.executable, "AUTHSERVER_PORT": port}


@contextmanager
def _made_to_run(clone: Path, environ: dict[str, str]) -> Iterator[Process]:
    """Run `make run` until the block ends; then end the server, not make."""
    log = clone.parent / f"{clone.name}.log"
    url = f"http://127.0.0.1:{environ['AUTHSERVER_PORT']}/readyz"
    with running(["make", "run"], url, log, environ, cwd=clone, seconds=INSTALL_SECONDS) as made:
        yield made
        [server] = made.workers
        os.kill(server, signal.SIGTERM)
        assert made.inner.wait(programs.STOP_SECONDS) == 0


def test_make_run_sets_up_once_and_serves_what_is_there(
    clone: Path, environ: dict[str, str]
) -> None:
    cloned = set(clone.iterdir())
    with _made_to_run(clone, environ) as made:
        output = made.output()
        assert f"http://127.0.0.1:{environ['AUTHSERVER_PORT']}" in output
        admin = _printed("user", output), _printed("password", output)
        assert admin[0] == "admin"
        assert _token_status(environ, *admin) == 200
        assert _token_status(environ, "admin", "a wrong one") == 401
        _assert_ignored_by_git({path.name for path in set(clone.iterdir()) - cloned})
        _take_next_steps(clone, environ, output)
        assert _forms(output) == _forms(_printed_in_the_readme())
    _assert_nowhere(admin[1], clone / "data")

    with _made_to_run(clone, environ) as made:
        assert admin[1] not in made.output()
        assert "password" not in made.output()
        assert _token_status(environ, *admin) == 200


def test_what_is_made_to_run_has_nothing_that_was_not_asked_for(
    clone: Path, environ: dict[str, str]
) -> None:
    _shell("make .venv/.run", clone, environ)
    installed = _shell(".venv/bin/pip freeze --all", clone, environ)
    assert "pip==" in installed
    assert "setuptools" not in installed


def test_every_package_that_is_installed_is_looked_up(
    clone: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """PyPI may be out of reach, so what asks it only shows what it would ask about."""
    _shell("make .venv/.run", clone, environ)
    place, tools = tmp_path / "installation", clone / "build" / "supply-chain"
    _shell(f"'{sys.executable}' -m venv '{place}'", clone, environ)
    (tools / "bin").mkdir(parents=True)
    (tools / "bin" / "pip-audit").write_text('#!/bin/sh\neval cat \\"\\${$#}\\"\n')
    (tools / "bin" / "pip-audit").chmod(0o700)
    (tools / ".done").touch()
    looked_up = _shell(f"make audit INSTALLATION={place}", clone, environ)
    there = _shell(f"'{place}/bin/python' -m pip freeze --all", clone, environ)
    assert "pip==" in there
    assert set(there.splitlines()) <= set(looked_up.splitlines())
    by_default = _shell("make audit", clone, environ)
    ours, _, todays = by_default.partition("build/runtime:\n")
    assert ours.startswith(".venv:\n")
    here = _shell(".venv/bin/pip freeze --all --exclude authserver", clone, environ)
    assert "pip==" in here
    assert set(here.splitlines()) <= set(ours.splitlines())
    assert "granian==" in todays


def _printed_in_the_readme() -> str:
    text = (ROOT / "README.md").read_text()
    return text.partition("```text\n")[2].partition("```")[0]


def _forms(output: str) -> list[str]:
    """Return the lines of an output with what differs each time left out."""
    varying = r"(?<=password  )\S+|/\S*(?=/data)|^\d{4}-\S+|(?<=:)\d{4,5}\b|(?<=workers=)\d+"
    lines = re.sub(varying, "…", output, flags=re.MULTILINE).splitlines()
    # Where the packages come from, pip may have something to say.
    return lines[lines.index("Installing …") + 1 :]


def _printed(label: str, output: str) -> str:
    found = re.search(rf"^ +{label} +(\S+)$", output, re.MULTILINE)
    assert found, output
    return found[1]


def _token_status(environ: dict[str, str], name: str, password: str) -> int:
    url = f"http://127.0.0.1:{environ['AUTHSERVER_PORT']}/token"
    return ask_for_token(url, auth=(name, password), service="main").status


def _take_next_steps(clone: Path, environ: dict[str, str], output: str) -> None:
    """Run each printed command word for word, as an operator who copies it."""
    steps = re.findall(r"^ {4}\S.*? {2,}(\S*authserver \S.*)$", output, re.MULTILINE)
    assert [re.sub(r"\S*authserver ", "", step).split()[:2] for step in steps] == [
        ["registry", "config"],
        ["user", "add"],
        ["acl", "allow"],
        ["acl", "explain"],
    ]
    config, add, allow, explain = steps
    section = _shell(config, clone, environ)
    assert section.startswith("auth:\n")
    bundle = re.search(r'rootcertbundle: "(.*)"', section)
    assert bundle
    assert Path(bundle[1]).read_text().startswith("-----BEGIN CERTIFICATE-----")
    _answer_prompts(add, clone, environ, "a new password")
    _shell(allow, clone, environ)
    assert "granted: push" in _shell(explain, clone, environ)
    assert wait_until(lambda: _token_status(environ, "alice", "a new password") == 200, 5)


def _shell(command: str, clone: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        shell=True,
        cwd=clone,
        env=environ,
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _answer_prompts(command: str, clone: Path, environ: dict[str, str], answer: str) -> None:
    """Run a command at a terminal, and type ``answer`` at each of its two prompts."""
    ours, terminal = os.openpty()
    shown = clone.parent / f"{clone.name}.prompts"
    try:
        with shown.open("wb") as output:
            process = subprocess.Popen(
                command,
                shell=True,
                cwd=clone,
                env=environ,
                stdin=terminal,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        for prompts in (1, 2):
            assert wait_until(lambda n=prompts: shown.read_text().count(": ") >= n, 20), (
                shown.read_text()
            )
            os.write(ours, f"{answer}\n".encode())
        assert process.wait(20) == 0, shown.read_text()
        assert answer not in shown.read_text()
    finally:
        os.close(ours)
        os.close(terminal)


def _assert_ignored_by_git(directories: set[str]) -> None:
    assert {".venv", "data"} <= directories
    ignored = subprocess.run(
        ["git", "check-ignore", *(f"{name}/" for name in directories)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert {line.rstrip("/") for line in ignored.stdout.splitlines()} == directories


def _assert_nowhere(secret: str, directory: Path) -> None:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if secret.encode() in path.read_bytes()]

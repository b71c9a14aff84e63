"""A test sees the programs that it requires, and no other of those that it may not find."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import clients
from tests.programs import PROGRAMS, RECORDED, Visible, clean_environ, require
from tests.soak.programs import by_program

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def openssl() -> str:
    require("openssl")
    return "openssl"


def test_a_program_is_found_once_it_is_required() -> None:
    assert [name for name in PROGRAMS if shutil.which(name)] == []
    require("openssl")
    assert [name for name in PROGRAMS if shutil.which(name)] == ["openssl"]


@pytest.mark.parametrize("time", ["first", "second"])
def test_a_program_that_a_fixture_requires_is_found(openssl: str, time: str) -> None:
    assert shutil.which(openssl)


def test_a_program_that_another_test_required_is_not_found() -> None:
    assert not shutil.which("openssl")


def test_a_missing_program_skips_the_test_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program not installed"):
        require("no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program not installed"):
        require("no-such-program")


def test_a_hidden_program_is_missing_and_what_requires_it_is_recorded(tmp_path: Path) -> None:
    require("openssl")
    name, record = "test_a_program_that_a_fixture_requires_is_found", tmp_path / "record"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--hide", "openssl", "--record-programs", record),
            *("-p", "no:cacheprovider", f"tests/e2e/{Path(__file__).name}::{name}"),
        ],
        cwd=ROOT,
        env=clean_environ(),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 skipped" in done.stdout
    assert by_program(record.read_text()) == {"openssl": {f"tests/e2e/{Path(__file__).name}"}}


@pytest.mark.parametrize(
    ("script", "function", "known", "count"),
    [("deps.sh", "go_program", PROGRAMS, 7), ("e2e/clients.sh", "build", RECORDED, 6)],
)
def test_the_programs_that_a_script_builds_are_known(
    script: str, function: str, known: frozenset[str], count: int
) -> None:
    text = (ROOT / "tests" / script).read_text()
    versions = dict(re.findall(r"^(\w+)=([\d.]+)", text, re.MULTILINE))
    built = re.findall(rf'^{function} "?([\w.$-]+)\b', text, re.MULTILINE)
    names = {re.sub(r"\$(\w+)", lambda found: versions[found[1]], name) for name in built}
    assert len(names) == count
    assert names <= known


def test_clients_of_record_deps_that_are_not_installed_have_no_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Visible, "hidden", RECORDED)
    expected = [kind for kind in clients.CLIENTS if PROGRAMS.issuperset(kind.programs)]
    assert clients.at_hand() == expected

"""A test sees the programs that it requires, and no other of those that it may not find."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import PROGRAMS, clean_environ, require
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


def test_the_programs_that_test_deps_builds_are_known() -> None:
    script = (ROOT / "tests" / "deps.sh").read_text()
    versions = dict(re.findall(r"^(\w+)=([\d.]+)$", script, re.MULTILINE))
    built = re.findall(r'^(?:go_program|go_source) "?([\w.$-]+)\b', script, re.MULTILINE)
    names = {re.sub(r"\$(\w+)", lambda found: versions[found[1]], name) for name in built}
    assert len(names) == 13
    assert names <= PROGRAMS

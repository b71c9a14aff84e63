"""README and docs: every command in a ``console`` block runs, in order, in a fresh installation."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from authserver.runtime import settings
from authserver.runtime.settings import OTHER_NAMES, Settings
from tests.programs import clean_environ, require

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HTPASSWD = "carol:$2y$05$nZ9UGownXcGDnHew4iQX7uYyK8eAtcckTpBPVODi0lB9Ol8plzIHm\n"
PASSWORD = "correct horse\n"


def console_blocks(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Give each command of a page with the output that the page shows below it."""
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        for part in re.split(r"^ *\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            yield command, [line.strip() for line in shown if line.strip()]


ASKS = re.compile(r"authserver user (add|passwd) \w+$")


class Shell:
    """Runs a page's commands; a password that would be asked for comes on standard input."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "bin").mkdir()
        program = home / "bin" / "authserver"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m authserver "$@"\n')
        program.chmod(0o755)
        self.env = clean_environ(
            AUTHSERVER_DATA_DIR=str(home / "data"),
            AUTHSERVER_BCRYPT_COST="4",
            PATH=f"{home / 'bin'}:{os.environ['PATH']}",
            PYTHONPATH=str(ROOT),
        )

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        command = command.replace("/etc/docker/registry", str(self.home / "registry"))
        if ASKS.match(command):
            command += " --password-stdin"
        return subprocess.run(
            ["bash", "-c", command],
            input=PASSWORD,
            capture_output=True,
            text=True,
            env=self.env,
            cwd=self.home,
            timeout=60,
            check=False,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "htpasswd").write_text(HTPASSWD)
    page = (ROOT / "docs" / "docker-auth.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "registry" / "docker_auth.yml").write_text(shown)
    shell = Shell(tmp_path)
    assert shell.run("authserver init --admin-password-stdin").returncode == 0
    return shell


@pytest.mark.sqlite
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run_as_shown(page: Path, shell: Shell) -> None:
    require("bash")
    if page.name != "README.md":
        # What the README makes before it sends its reader to the pages.
        for command in ("authserver user add alice", "authserver group add developers"):
            if page.name != "acl.md":
                assert shell.run(command).returncode == 0
    for command, shown in console_blocks(page):
        done = shell.run(command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if shown:
            # All of standard output, where "…" stands for any lines, and some of the notes.
            said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
            noted = [line.strip() for line in done.stderr.splitlines()]
            expected = [line.replace("/etc/docker", str(shell.home)) for line in shown]
            printed = [line for line in expected if line not in noted]
            form = "\n".join(".*" if line == "…" else re.escape(line) for line in printed)
            assert re.fullmatch(form, "\n".join(said), re.DOTALL), f"{command} said {said}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_setting_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        rows = [row for row in text.splitlines() if f"`AUTHSERVER_{name.upper()}`" in row]
        assert rows, f"{name} is not in docs/settings.md"
        assert str(field.description) in rows[0]
        if field.default not in (None, ()):
            assert f"`{field.default}`" in rows[0]
    assert all(f"`{name}`" in text for name in OTHER_NAMES)


def test_the_sample_file_is_what_the_settings_say() -> None:
    assert (ROOT / "docs" / "authserver.toml").read_text() == settings.sample()


def test_the_sample_file_with_every_line_enabled_is_the_defaults(tmp_path: Path) -> None:
    enabled = re.sub(r"^#(?=\w)", "", settings.sample(), flags=re.MULTILINE)
    path = tmp_path / "authserver.toml"
    path.write_text(enabled)
    assert settings.load({"AUTHSERVER_CONFIG_FILE": str(path)}).settings == Settings()

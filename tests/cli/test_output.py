"""What commands print: where it cannot go, and the form that times and clients have."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from authserver.cli import output
from authserver.runtime.settings import Settings
from tests.cli.commands import Commands
from tests.programs import Authserver
from tests.world import PASSWORD, World

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ"
DOCKER = (
    "docker/27.5.1 go/go1.22.11 git-commit/4c9b3b0 kernel/6.1.0 os/linux arch/amd64 "
    "UpstreamClient(Docker-Client/27.5.1 \\(linux\\))"
)


def shell(data_dir: Path, command: str) -> subprocess.CompletedProcess[str]:
    program = f'authserver() {{ {sys.executable} -m authserver "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", program + command],
        env=Authserver(data_dir).environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("audit list > /dev/full", "No space left on device"),
        ("user list --json > /dev/full", "No space left on device"),
        ("key bundle > /dev/full", "No space left on device"),
        ("--help > /dev/full", "No space left on device"),
        ("audit list >&-", "Bad file descriptor"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_exit_status_1(
    data_dir: Path, command: str, why: str
) -> None:
    done = shell(data_dir, f"authserver {command}")
    said = [line for line in done.stderr.splitlines() if not line.startswith("Warning")]
    assert said == [f"Error: standard output cannot be written: {why}"]
    assert done.returncode == 1


def test_a_reader_that_has_gone_is_no_error_to_speak_of(data_dir: Path) -> None:
    # The reader closes its end before the command begins to write.
    done = shell(
        data_dir,
        "exec 3> >(exec <&-; echo gone > gone); until [ -s gone ]; do :; done\n"
        f"cd {data_dir} && authserver audit list >&3; echo $?".replace(
            "exec 3>", f"cd {data_dir.parent}; exec 3>", 1
        ),
    )
    assert done.stdout == "1\n"
    assert "Error" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_prints_nothing_needs_no_standard_output(data_dir: Path) -> None:
    assert shell(data_dir, "authserver group add dev >&-").returncode == 0
    assert "dev" in shell(data_dir, "authserver group list").stdout


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        ("2026-11-24T04:23:34.069007+00:00", "2026-11-24 04:23:34Z"),
        (datetime(2026, 11, 24, 4, 23, 34, tzinfo=UTC), "2026-11-24 04:23:34Z"),
        (
            datetime(2026, 11, 24, 5, 23, 34, tzinfo=timezone(timedelta(hours=1))),
            "2026-11-24 04:23:34Z",
        ),
    ],
)
def test_a_time_has_one_form(time: str | datetime, shown: str) -> None:
    assert output.when(time) == shown


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [
        (DOCKER, "docker/27.5.1"),
        ("containers/5.30.0 (github.com/containers/image)", "containers/5.30.0"),
        ("  Helm/3.22.0", "Helm/3.22.0"),
        ("", "unknown"),
        (None, "unknown"),
        ("x" * 100, "x" * 39 + "…"),
        ("a\x1b[2J", "a\\x1b[2J"),
    ],
)
def test_a_client_is_shown_by_its_first_product(user_agent: str | None, shown: str) -> None:
    assert output.client(user_agent) == shown


def test_every_table_shows_times_alike_and_json_as_iso_8601(
    run: Commands, settings: Settings
) -> None:
    run("token", "create", "admin", "--name", "ci")
    world = World.over(settings)
    world.get(
        "service=registry&offline_token=true",
        auth=("admin", PASSWORD),
        headers={"User-Agent": DOCKER},
    )
    world.wiring.maintenance.tick()
    world.close()
    assert run.json("session", "list")[0]["created_client"] == DOCKER
    for words, times in (
        ("session list", 2),
        ("token list", 2),
        ("audit list", 1),
        ("registry list", 1),
        ("user show admin", 3),
        ("registry show registry", 1),
    ):
        text = run(*words.split())
        assert len(re.findall(TIME, text.splitlines()[-1] if "list" in words else text)) == times
        assert not re.search(r"\dT\d\d:", text)
        assert re.search(
            r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00"', run(*words.split(), "--json")
        )
    listed = run("session", "list")
    assert "docker/27.5.1" in listed
    assert "go1.22" not in listed


def test_json_holds_nothing_that_commands_a_terminal() -> None:
    said = {"é": "\x1b[31m \x9b1m \x7f \u202e \u2067 \ud800"}
    shown = output.safe_json(said)
    assert shown.isprintable()
    assert shown.startswith('{"é": ')
    assert json.loads(shown) == said

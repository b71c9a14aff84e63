"""What hostile reviews of the command line found, so that it stays mended."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from authserver.cli import cli
from tests import stores


class Run:
    def __init__(self, data_dir: Path) -> None:
        self.env = stores.environ(data_dir) | {"AUTHSERVER_BCRYPT_COST": "4"}

    def __call__(self, *args: str, stdin: str = "") -> Result:
        return CliRunner().invoke(cli, args, env=self.env, input=stdin)


@pytest.fixture
def run(data_dir: Path) -> Run:
    return Run(data_dir)


def test_a_planted_link_is_not_followed_when_the_bundle_is_written(
    run: Run, tmp_path: Path
) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("precious")
    victim.chmod(0o600)
    out.mkdir()
    for name in (".authserver-bundle.pem.new", "authserver-bundle.pem"):
        (out / name).symlink_to(victim)
    assert run("registry", "config", "registry", "--output-dir", str(out)).exit_code == 0
    assert victim.read_text() == "precious"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
    assert not (out / "authserver-bundle.pem").is_symlink()


def test_every_directory_that_is_made_for_the_bundle_can_be_entered(
    run: Run, tmp_path: Path
) -> None:
    assert (
        run("registry", "config", "registry", "--output-dir", str(tmp_path / "a/b/c")).exit_code
        == 0
    )
    for name in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o755


def test_a_planted_link_does_not_become_the_lock(tmp_path: Path) -> None:
    victim, data_dir = tmp_path / "victim", tmp_path / "data"
    victim.write_text("precious")
    data_dir.mkdir(mode=0o700)
    (data_dir / ".init.lock").symlink_to(victim)
    assert Run(data_dir)("init").exit_code == 1
    assert victim.read_text() == "precious"


def test_a_data_directory_that_everybody_writes_into_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    done = Run(tmp_path / "data")("init")
    assert done.exit_code == 1
    assert "chmod 700" in done.stderr


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("postgresql+psycopg://u@h/db?password=hunter2", "hunter2"),
        ("postgresql+psycopg://u:hunter2@h/db", "hunter2"),
        ("postgresql+psycopg://u:p@s:hunter2@h/db", "hunter2"),
    ],
)
def test_no_password_of_the_database_is_shown(run: Run, url: str, secret: str) -> None:
    run.env["AUTHSERVER_DATABASE_URL"] = url
    assert secret not in run("config", "show").output
    assert secret not in run("user", "list").output


def test_a_public_url_with_a_user_is_refused(run: Run) -> None:
    run.env["AUTHSERVER_PUBLIC_URL"] = "https://u:hunter2@h"
    done = run("config", "show")
    assert done.exit_code == 1
    assert "hunter2" not in done.output


def test_an_empty_administrators_password_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path / "data")
    for more in ([], ["--print-password"]):
        assert run("init", "--admin-password-stdin", *more, stdin="\n").exit_code == 1
    assert not (tmp_path / "data" / "authserver.db").exists()


@pytest.mark.parametrize(
    "args",
    [("user", "show", "\udcff"), ("acl", "remove", "9" * 20), ("registry", "show", "\udcff")],
)
def test_arguments_that_nothing_can_be_named_by_are_wrong_usage(
    run: Run, args: tuple[str, ...]
) -> None:
    assert run(*args).exit_code == 2


def test_a_comment_is_one_printable_line(run: Run) -> None:
    for comment in ("\x1b[2J", "two\nlines"):
        done = run("acl", "allow", "everyone", "a/**", "pull", "--comment", comment)
        assert done.exit_code == 1
    assert len(json.loads(run("acl", "list", "--json").stdout)) == 2


def test_a_scope_from_elsewhere_does_not_reach_the_terminal_as_it_is(run: Run) -> None:
    done = run("acl", "explain", "anonymous", "repository:a\x1b[31m:pull")
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    done = run("acl", "explain", "anonymous", "x\x1b]0;y\x07")
    assert done.exit_code == 2
    assert "\x1b" not in done.output


def test_a_strange_data_directory_keeps_its_store(tmp_path: Path) -> None:
    for name in ("a?b", "a%41", "a#b", "a b"):
        assert Run(tmp_path / name)("init").exit_code == 0
        assert (tmp_path / name / "authserver.db").exists()


def test_an_account_that_no_pattern_can_stand_for_is_told(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    file.write_text("al@x:$2y$04$kihw43c0Mv9.k0sdxxY/v.VEegAobwIsljmahwr0iv.TCw5c8bVSm\n")
    assert "al@x cannot be a part" in run("import", "htpasswd", str(file)).stderr
    assert "b@x cannot be a part" in run("robot", "add", "b@x").stderr

"""``authserver import htpasswd``."""

import json
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from click.testing import CliRunner, Result

from authserver.cli import cli
from tests import stores

DES = "f23kLbLhY/YaI"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    good = bcrypt.hashpw(b"old password", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    path = tmp_path / "htpasswd"
    path.write_text(f"carol:{good}\ndave:{DES}\nadmin:{good}\nCarol:{good}\nerin:{good}\n")
    return path


@pytest.fixture
def run(data_dir: Path) -> "Run":
    return Run(data_dir)


class Run:
    def __init__(self, data_dir: Path) -> None:
        self.env = stores.environ(data_dir) | {"AUTHSERVER_BCRYPT_COST": "4"}

    def __call__(self, *args: str) -> Result:
        return CliRunner().invoke(cli, args, env=self.env)

    def json(self, *args: str) -> Any:
        done = self(*args, "--json")
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    def users(self) -> list[str]:
        return [user["name"] for user in self.json("user", "list")]


def test_good_lines_are_imported_and_the_others_named(run: Run, file: Path) -> None:
    done = run("import", "htpasswd", str(file))
    assert done.exit_code == 1
    assert run.users() == ["admin", "carol", "erin"]
    assert "2 imported, 1 there already, 2 not taken" in done.stdout
    assert "line 2: dave: not taken: hashed with crypt (DES)" in done.stderr
    assert "line 4: Carol: not taken" in done.stderr
    assert "admin: there already, left alone" in done.stderr


def test_without_allow_it_prints_the_rule_that_gives_everybody_what_they_had(
    run: Run, file: Path
) -> None:
    done = run("import", "htpasswd", str(file))
    assert "acl allow authenticated '**' all" in done.stderr
    assert run.json("acl", "list", "--subject", "authenticated") == []


def test_a_second_run_changes_nothing(run: Run, file: Path) -> None:
    run("import", "htpasswd", str(file), "--allow", "**", "all")
    before = run.json("audit", "list")
    done = run("import", "htpasswd", str(file), "--allow", "**", "all")
    assert "0 imported, 3 there already" in done.stdout
    assert run.json("audit", "list") == before


def test_a_dry_run_says_who_would_be_imported_and_changes_nothing(run: Run, file: Path) -> None:
    before = run.json("audit", "list")
    done = run("import", "htpasswd", str(file), "--allow", "**", "all", "--dry-run")
    assert done.stdout == "2 would be imported, 1 there already, 2 would not be taken\n"
    for said in (
        "carol: would be imported",
        "erin: would be imported",
        "line 2: dave: would not be taken",
        "rule allow authenticated ** all on every registry: would be written",
    ):
        assert said.replace("** all", "** *") in done.stderr
    assert json.loads(run("import", "htpasswd", str(file), "--dry-run", "--json").stdout)["dry_run"]
    assert run.users() == ["admin"]
    assert run.json("audit", "list") == before


def test_allow_writes_one_rule_for_everyone_who_logs_in(run: Run, file: Path) -> None:
    run("import", "htpasswd", str(file), "--allow", "team/**", "push")
    (rule,) = run.json("acl", "list", "--subject", "authenticated")
    assert (rule["patterns"], rule["actions"]) == (["team/**"], ["pull", "push"])


def test_a_bad_rule_imports_nobody(run: Run, file: Path) -> None:
    done = run("import", "htpasswd", str(file), "--allow", "Team", "all")
    assert done.exit_code == 1
    assert run.users() == ["admin"]


def test_partial_is_content_with_what_can_be_taken(run: Run, file: Path) -> None:
    assert run("import", "htpasswd", str(file), "--partial").exit_code == 0


def test_the_refused_lines_come_last(run: Run, file: Path) -> None:
    *_, second, fourth = run(
        "import", "htpasswd", str(file), "--allow", "**", "all"
    ).stderr.splitlines()
    assert second.startswith("line 2: dave: not taken")
    assert fourth.startswith("line 4: Carol: not taken")


def test_a_file_that_is_something_else_is_named_once(run: Run, tmp_path: Path) -> None:
    crontab = tmp_path / "crontab"
    crontab.write_text("PATH=/bin:/usr/bin\n0 5 * * 1 root tar -zcf /backup.tgz /home\n" * 20)
    done = run("import", "htpasswd", str(crontab))
    assert done.exit_code == 1
    assert (
        done.stderr
        == f"Error: {crontab}: this is no htpasswd file: no line has the form NAME:HASH\n"
    )


def test_a_missing_file_is_named(run: Run, tmp_path: Path) -> None:
    done = run("import", "htpasswd", str(tmp_path / "gone"))
    assert done.exit_code == 1
    assert "gone cannot be read: No such file or directory" in done.stderr


def test_no_hash_is_printed(run: Run, file: Path) -> None:
    done = run("import", "htpasswd", str(file), "--json")
    assert "$2y$" not in done.output
    assert DES not in done.output


def test_a_file_may_come_on_standard_input(run: Run, file: Path) -> None:
    done = CliRunner().invoke(
        cli, ["import", "htpasswd", "-"], env=run.env, input=file.read_bytes()
    )
    assert "2 imported" in done.stdout
    assert run.users() == ["admin", "carol", "erin"]

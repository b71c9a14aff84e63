"""authserver policy: export, plan, apply, test, schema."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from authserver.policy.files import schema
from tests import stores
from tests.cli.commands import Commands
from tests.programs import clean_environ
from tests.world import ADMIN, SERVICE

POLICY = f"""\
registries:
  {SERVICE}:
accounts:
  {ADMIN}: {{kind: user, admin: true}}
  alice: {{kind: user}}
groups:
  dev: [user:alice]
rules:
  - {{effect: allow, subjects: [group:dev], patterns: [team/**], actions: [push]}}
tests:
  - alice can push team/app
  - anonymous cannot pull **
"""
FAILING = "tests:\n  - alice can push team/app\n  - alice can push other/app\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_a_file_is_planned_applied_and_then_changes_nothing(run: Commands, file: Path) -> None:
    said = run("policy", "plan", file)
    assert "+ add rule (allow group:dev team/** pull,push on every registry)\n" in said
    assert "Not in the file and left alone; --prune would remove:\n" in said
    assert "4 to add, 0 to change, 0 to remove.\n" in said
    assert "user alice starts disabled\n" in run.err
    run("policy", "plan", file, "--exit-code", status=3)
    before = run("audit", "list", "--json")
    run("policy", "apply", file, status=2)
    assert "--yes" in run.err
    assert run("audit", "list", "--json") == before
    assert run("policy", "apply", file, "--yes") == said
    assert run.err.endswith(
        "Applied: 4 added, 0 changed, 0 removed.\n"
        "To enable and invite the new users:\n"
        "  authserver user enable alice\n"
        "  authserver user invite alice --csv > invitations.csv\n"
    )
    assert run.last_change()["actor"].startswith("cli:")
    said = run("policy", "plan", file, "--exit-code")
    assert said.endswith("Nothing to change.\n")
    assert run.json("acl", "list")[-1]["patterns"] == ["team/**"]


def test_an_export_is_a_policy_that_changes_nothing(run: Commands, file: Path) -> None:
    run("policy", "apply", file, "--yes")
    said = run("policy", "export")
    file.write_text(said)
    run("policy", "plan", file, "--prune", "--exit-code")
    run("policy", "apply", "-", "--yes", "--prune", stdin=said)
    assert run("policy", "export") == said
    assert json.loads(run("policy", "export", "--json"))["groups"] == {"dev": ["user:alice"]}


def test_problems_name_file_and_line_and_exit_with_1(run: Commands, file: Path) -> None:
    file.write_text(POLICY.replace("[user:alice]", "[user:eve]").replace("group:dev", "group:x"))
    for command in ("plan", "apply", "test"):
        run("policy", command, file, status=1)
        assert f"{file}:7: there is no user 'eve'" in run.err
        assert f"{file}:9: there is no group 'x'" in run.err
    run("policy", "plan", "-", stdin="a: 1", status=1)
    assert "standard input:1: unknown key 'a'" in run.err
    run("policy", "plan", file.parent / "none", status=1)
    assert "cannot be read" in run.err
    run("policy", "plan", "-", stdin=FAILING, status=1)
    assert "no section but tests" in run.err


def test_prune_and_force(run: Commands, file: Path) -> None:
    run("policy", "apply", file, "--yes")
    run("acl", "deny", "group:dev", "team/secret", "all")
    file.write_text("groups: {}\n")
    assert run("policy", "apply", file, "--yes").endswith("Nothing to change.\n")
    run("policy", "apply", file, "--yes", "--prune", status=1)
    assert "refused, unless forced (--force" in run.err
    run("policy", "apply", file, "--yes", "--prune", "--force")
    assert run.json("group", "list") == []


def test_json_is_one_value_and_says_what_is_printed(run: Commands, file: Path) -> None:
    plan = run.json("policy", "plan", str(file))
    assert plan["id"] in run("policy", "plan", file)
    assert [change["what"] for change in plan["changes"]] == ["account", "group", "member", "rule"]
    assert plan["changes"][-1]["after"]["patterns"] == ["team/**"]
    assert [step["do"] for step in plan["prunable"]] == ["remove"] * 2
    assert run.json("policy", "apply", str(file), "--yes")["id"] == plan["id"]
    assert run.json("policy", "apply", str(file), "--yes")["changes"] == []


def test_only_the_plan_that_is_expected_is_applied(run: Commands, file: Path) -> None:
    plan = run.json("policy", "plan", str(file))["id"]
    run("policy", "apply", file, "--yes", "--expect", "0" * 16, status=1)
    assert "the plan is another one now" in run.err
    assert run.json("group", "list") == []
    run("policy", "apply", file, "--yes", "--expect", plan)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_plan_has_the_same_id_in_every_process(run: Commands, file: Path, seed: str) -> None:
    run("policy", "apply", file, "--yes")
    run("user", "enable", "alice")
    file.write_text(POLICY.replace("kind: user}\ng", "kind: user, disabled: true}\ng"))
    run("acl", "allow", "authenticated,everyone", "a,b,c/*,{account}/**", "all")
    done = subprocess.run(
        [sys.executable, "-m", "authserver", "policy", "plan", str(file), "--json"],
        env=clean_environ(**stores.environ(run.data_dir), PYTHONHASHSEED=seed),
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    plan = json.loads(done.stdout)
    assert plan == run.json("policy", "plan", str(file))
    assert len(plan["changes"][0]["effects"]["told"]) > 3


@pytest.mark.parametrize(("answer", "applied"), [(b"y\n", True), (b"n\n", False), (b"\x04", False)])
def test_at_a_terminal_it_asks(run: Commands, file: Path, answer: bytes, applied: bool) -> None:
    done = run.at_terminal("policy", "apply", file, answer=answer)
    assert b"Apply this?" in done.stderr
    assert (done.returncode == 0) == applied
    assert bool(run.json("group", "list")) == applied


# Assertions.


def test_assertions_need_no_store(bare: Commands, file: Path, tmp_path: Path) -> None:
    said = bare("policy", "test", file)
    assert said == "ok      alice can push team/app\nok      anonymous cannot pull **\n"
    assert bare.err == "2 assertions, 0 failed.\n"
    apart = tmp_path / "tests.yaml"
    apart.write_text(FAILING)
    assert "FAILED  alice can push other/app\n" in bare(
        "policy", "test", apart, "--policy", file, status=1
    )
    assert "no rule allows push" in bare.out
    assert not bare.data_dir.exists()


def test_tests_alone_are_checked_on_the_store(run: Commands, file: Path, tmp_path: Path) -> None:
    run("policy", "apply", file, "--yes")
    run("policy", "test", "-", stdin=FAILING, status=1)
    assert "alice is disabled" in run.out
    run("user", "enable", "alice")
    run("acl", "allow", "user:alice", "other/*", "push")
    run("policy", "test", "-", stdin=FAILING)


def test_verdicts_as_json_and_junit(bare: Commands, file: Path, tmp_path: Path) -> None:
    file.write_text(POLICY.replace("cannot", "can"))
    report = tmp_path / "junit.xml"
    found: list[dict[str, Any]] = json.loads(
        bare("policy", "test", file, "--json", "--junit", report, status=1)
    )
    assert [(each["line"], each["holds"]) for each in found] == [(11, True), (12, False)]
    assert ET.parse(report).getroot().attrib["failures"] == "1"
    bare("policy", "test", file, "--junit", tmp_path, status=1)
    assert "cannot be written" in bare.err


def test_assertions_are_tested_at_a_given_time(bare: Commands, file: Path) -> None:
    file.write_text(POLICY.replace("[push]}", "[push], valid_from: 2027-01-01}"))
    bare("policy", "test", file, "--at", "2026-12-31", status=1)
    bare("policy", "test", file, "--at", "2027-01-01")


def test_what_has_no_tests_or_no_assertions_is_refused(bare: Commands, file: Path) -> None:
    file.write_text("rules: []")
    bare("policy", "test", file, status=1)
    assert "has no tests in it" in bare.err
    file.write_text("tests:\n - alice can push team/app\n - alice may push a\n")
    bare("policy", "test", file, status=1)
    assert f"{file}:3: 'alice may push a': write WHO can|cannot" in bare.err


def test_the_schema_is_printed(bare: Commands) -> None:
    assert json.loads(bare("policy", "schema")) == schema.schema()
    assert not bare.data_dir.exists()

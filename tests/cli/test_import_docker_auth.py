"""``authserver import docker-auth``."""

from pathlib import Path
from typing import Any

import bcrypt
import pytest

from authserver.cli import import_docker_auth
from tests.cli.commands import Commands

OLD = "old password"
HASH = bcrypt.hashpw(OLD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")

WHOLE = f"""\
token: {{issuer: Acme auth server, expiration: 900}}
users:
  admin: {{password: "{HASH}"}}
  carol: {{password: "{HASH}"}}
  "": {{}}
acl:
  - match: {{account: admin}}
    actions: ["*"]
    comment: Admin has full access.
  - match: {{account: carol, name: secret, type: repository}}
    actions: []
    comment: secrets
  - match: {{type: repository}}
    actions: [pull]
"""

PARTIAL = f"""\
users:
  carol: {{password: "{HASH}"}}
  dave: {{password: f23kLbLhY/YaI}}
  erin: {{}}
  Carol: {{password: "{HASH}"}}
  "a b": {{password: "{HASH}"}}
ldap_auth: {{addr: "ldap:636"}}
acl:
  - match: {{account: carol, name: "a/*"}}
    actions: [pull]
  - match: {{labels: {{group: dev}}, name: "a/?"}}
    actions: []
  - match: {{account: "/.+/", name: "a/b"}}
    actions: ["*"]
"""


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    path.write_text(WHOLE)
    return path


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    path = tmp_path / "partial.yml"
    path.write_text(PARTIAL)
    return path


def rules(run: Commands) -> list[str]:
    """Return what the rules say that `init` did not write."""
    return [
        " ".join([r["effect"], ",".join(r["subjects"]), *r["patterns"], ",".join(r["actions"])])
        for r in run.json("acl", "list")
        if r["comment"].startswith("docker_auth")
    ]


def users(run: Commands) -> list[str]:
    return [user["name"] for user in run.json("user", "list")]


def test_users_and_rules_are_imported(run: Commands, whole: Path) -> None:
    said = run("import", "docker-auth", whole)
    assert "users: 1, rules: 4, deciding as docker_auth does in" in said
    assert "Imported 1 users and 2 rules; 2 rules were there already." in run.err
    for told in (
        "admin: there already, left alone",
        "token.issuer is 'Acme auth server', ours is 'authserver'",
        "token.expiration is 900 seconds",
    ):
        assert told in run.err
    assert users(run) == ["admin", "carol"]
    assert rules(run) == [
        # Those for admin are as `init` wrote them.
        "deny user:carol secret pull,push",
        "allow everyone ** pull",
    ]
    comments = {rule["comment"] for rule in run.json("acl", "list")}
    assert {"docker_auth line 10: secrets", "docker_auth line 13"} <= comments


def test_decisions_are_docker_auths(run: Commands, whole: Path) -> None:
    run("import", "docker-auth", whole)
    run("acl", "check", "carol", "repository:app:pull")
    run("acl", "check", "carol", "repository:secret:pull", status=1)
    run("acl", "check", "anonymous", "repository:secret:pull")
    run("acl", "check", "anonymous", "repository:app:push", status=1)


def test_a_second_run_changes_nothing(run: Commands, whole: Path) -> None:
    run("import", "docker-auth", whole)
    before = run("audit", "list", "--json")
    run("import", "docker-auth", whole)
    assert run("audit", "list", "--json") == before


def test_a_dry_run_says_the_same_and_changes_nothing(run: Commands, whole: Path) -> None:
    before = run("audit", "list", "--json")
    said = run("import", "docker-auth", whole, "--dry-run")
    assert "Dry run: nothing was changed." in run.err
    assert run("audit", "list", "--json") == before
    assert run("import", "docker-auth", whole) == said


def test_entries_that_cannot_be_taken_are_named_and_nothing_is_written(
    run: Commands, partial: Path
) -> None:
    before = run("audit", "list", "--json")
    run("import", "docker-auth", partial, status=1)
    for line in (
        "line 3: dave: not taken: hashed with crypt (DES)",
        "line 4: erin: not taken: it has no password: anyone may log in with that name",
        "line 5: Carol: not taken: carol is there: names must differ in more than case",
        "line 6: a b: not taken: the name 'a b' contains",
        "line 7: ldap_auth: not taken",
        "line 11: not taken: it matches labels",
        "line 13: not taken: line 11 comes first and gives less, and cannot be taken",
        "nothing was changed",
    ):
        assert line in run.err
    assert run.err.count("    instead: ") >= 7
    assert HASH not in run.out + run.err
    assert run("audit", "list", "--json") == before


def test_partial_takes_the_rest(run: Commands, partial: Path) -> None:
    run("import", "docker-auth", partial, "--partial")
    assert users(run) == ["admin", "carol"]
    assert rules(run) == ["allow user:carol a/* pull"]


def test_json_says_all_of_it(run: Commands, partial: Path) -> None:
    found = run.json("import", "docker-auth", str(partial), "--dry-run", status=1)
    assert (found["written"], found["complete"]) == (False, False)
    assert found["users"] == {"new": ["carol"], "existing": []}
    assert [(left["line"], left["name"]) for left in found["not_taken"]] == [
        (3, "dave"),
        (4, "erin"),
        (5, "Carol"),
        (6, "a b"),
        (7, "ldap_auth"),
    ]
    first, second, _ = found["entries"]
    assert first["rules"] == ["allow user:carol a/* pull on every registry"]
    assert first["results"] == [{"type": "repository", "state": "taken", "problems": []}]
    assert second["results"][0]["problems"][0]["remedy"].startswith("put the accounts in a group")


def test_on_one_registry(run: Commands, whole: Path) -> None:
    run("registry", "add", "other")
    run("import", "docker-auth", whole, "--registry", "other")
    found = [r for r in run.json("acl", "list") if r["comment"].startswith("docker_auth")]
    assert {rule["registry"] for rule in found} == {"other"}


def test_a_registry_that_is_not_there_is_named(run: Commands, whole: Path) -> None:
    run("import", "docker-auth", whole, "--registry", "other", status=1)
    assert "there is no registry 'other'" in run.err


def test_a_broken_file_is_named_with_its_line(run: Commands, tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text("acl:\n- match: {}\n")
    run("import", "docker-auth", path, status=1)
    assert f"{path}:2: an entry of acl has no actions" in run.err
    run("import", "docker-auth", tmp_path / "gone", status=1)
    assert "gone cannot be read: No such file or directory" in run.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "server: {addr: ':5001'}\ntoken: {issuer: a}\n",
            ":1: this is no docker_auth configuration",
        ),
        ("services: {web: {image: nginx}}\n", "it has neither users nor acl"),
        ("spec:\n- auth:\n    users: {}\n    acl: []\n", "is below spec[0].auth, in line 3:"),
        (
            "data:\n  da.yml: |\n    users: {}\n    acl: []\n",
            "is the text data.da.yml, from line 2",
        ),
        ("a: &a {b: *a}\n", "neither users nor acl"),
    ],
)
def test_a_file_that_is_something_else_is_an_error_that_says_where(
    run: Commands, tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "values.yml"
    path.write_text(text)
    run("import", "docker-auth", path, status=1)
    assert why in run.err


def test_an_entry_without_effect_says_why(run: Commands, tmp_path: Path) -> None:
    path = tmp_path / "da.yml"
    path.write_text("acl:\n- match: {type: respository}\n  actions: [pull]\n")
    (entry,) = run.json("import", "docker-auth", str(path))["entries"]
    ((problem,),) = [result["problems"] for result in entry["results"]]
    assert problem["reason"] == "no registry asks for the type 'respository'"


def test_the_files_words_cannot_move_the_cursor(run: Commands, tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text('"a\\e[2J": 1\nacl:\n- {match: {"b\\e[2J": x}, actions: ["c\\e[2J"]}\n')
    run("import", "docker-auth", path, "--partial")
    assert "\x1b" not in run.out + run.err
    assert "\\x1b[2J" in run.err


def test_a_file_may_come_on_standard_input(run: Commands) -> None:
    run("import", "docker-auth", "-", stdin=WHOLE)
    assert users(run) == ["admin", "carol"]


def test_a_rule_that_was_disabled_is_not_passed_over(run: Commands, whole: Path) -> None:
    run("import", "docker-auth", whole)
    (deny,) = [rule["id"] for rule in run.json("acl", "list") if rule["effect"] == "deny"]
    run("acl", "disable", deny)
    run("import", "docker-auth", whole, status=1)
    assert f"authserver acl enable {deny}" in run.err


def test_a_concurrent_change_leaves_nothing_half_written(
    run: Commands, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = import_docker_auth._plan

    def overtaken(*arguments: Any) -> Any:
        found = plan(*arguments)
        Commands(run.data_dir)("registry", "remove", "other", "--yes")
        return found

    run("registry", "add", "other")
    monkeypatch.setattr(import_docker_auth, "_plan", overtaken)
    run("import", "docker-auth", whole, "--registry", "other", status=1)
    assert "there is no registry 'other'" in run.err
    assert users(run) == ["admin"]


@pytest.mark.parametrize(
    "name", [f"/^{'a*' * 60}b$/", f"/{'.*a' * 40}/", f"/{'(' * 2000}/", "${" * 2000, "/(a|b)" * 90]
)
def test_an_expression_that_takes_others_for_ever_does_not_hang_the_import(
    run: Commands, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "config.yml"
    entries = "".join(
        f"- {{match: {{{key}: '{name}'}}, actions: [pull]}}\n"
        for key in ("account", "name", "type", "service")
    )
    path.write_text(f"acl:\n{entries}- {{match: {{name: {'a' * 200}}}, actions: [pull]}}\n")
    run("import", "docker-auth", path, "--dry-run", status=1)
    assert "not taken" in run.err + run.out

"""Many accounts at once: enabled, disabled and invited, by names, by a file, or all in a group."""

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click import testing

from authserver.cli import inputs, many
from tests.cli.commands import Commands
from tests.world import ADMIN, PASSWORD

PEOPLE = ("alice", "bob", "carol")


@pytest.fixture
def team(run: Commands) -> Commands:
    """An installation with alice, bob, carol and the robot ci in the group dev; dora is in none."""
    for name in (*PEOPLE, "dora"):
        run("user", "invite", name)
    run("robot", "add", "ci")
    run("group", "add", "dev")
    for name in (*PEOPLE, "ci"):
        run("group", "add-member", "dev", name)
    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "names"


def disabled(run: Commands) -> set[str]:
    listed = [*run.json("user", "list"), *run.json("robot", "list")]
    return {each["name"] for each in listed if each["disabled"]}


def test_all_in_a_group_are_disabled_and_enabled(team: Commands) -> None:
    team("user", "disable", "--all-in", "dev", status=2)
    assert "Disable 3 users, and end their logins?" in team.err
    assert disabled(team) == set()
    team("user", "disable", "--all-in", "dev", "--yes")
    assert "Disabled 3 users; 0 were disabled already." in team.err
    assert disabled(team) == set(PEOPLE)
    team("user", "enable", "alice")
    team("user", "enable", "--all-in", "dev")
    assert "Enabled 2 users; 1 were enabled already." in team.err
    team("robot", "disable", "--all-in", "dev", "--yes")
    assert disabled(team) == {"ci"}


@pytest.fixture
def asked(
    team: Commands, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], object]], None]:
    """Let a function run while a command waits for the answer to its question, which is yes."""

    def while_asked(act: Callable[[], object]) -> None:
        def confirm(_question: str, **_: object) -> bool:
            act()
            return True

        monkeypatch.setattr(testing._NamedTextIOWrapper, "isatty", lambda _: True, raising=False)
        monkeypatch.setattr(click, "confirm", confirm)

    return while_asked


@pytest.mark.parametrize("args", [("alice", "bob"), ("--all-in", "dev"), ("--file", "FILE")])
def test_others_write_while_a_question_waits(
    team: Commands,
    file: Path,
    asked: Callable[[Callable[[], object]], None],
    args: tuple[str, ...],
) -> None:
    file.write_text("alice\nbob\n")
    other = Commands(team.data_dir)
    asked(lambda: other("user", "invite", "eve"))
    team("user", "disable", *(str(file) if arg == "FILE" else arg for arg in args))
    assert {"alice", "bob"} <= disabled(team)
    assert "eve" in {user["name"] for user in team.json("user", "list")}


def test_a_group_that_changes_while_a_question_waits_is_refused(
    team: Commands, asked: Callable[[Callable[[], object]], None]
) -> None:
    other = Commands(team.data_dir)
    asked(lambda: other("group", "add-member", "dev", "dora"))
    team("user", "disable", "--all-in", "dev", status=1)
    assert "the members of the group dev changed meanwhile: run this again" in team.err
    assert disabled(team) == set()
    # Robots are not among the users that the question was about.
    team("robot", "add", "cd")
    asked(lambda: other("group", "add-member", "dev", "cd"))
    team("user", "disable", "--all-in", "dev")
    assert disabled(team) == {*PEOPLE, "dora"}


@pytest.mark.parametrize("verb", ["disable", "enable", "invite"])
def test_others_write_while_standard_input_is_read(
    team: Commands, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    other = Commands(team.data_dir)

    def read_input(file: Path) -> bytes:
        other("user", "invite", "eve")
        return inputs.read_input(file)

    monkeypatch.setattr(many, "read_input", read_input)
    sure = ["--yes"] if verb == "disable" else []
    team("user", verb, "--file", "-", *sure, stdin="alice\nbob\n")
    assert "eve" in {user["name"] for user in team.json("user", "list")}


def test_a_file_has_a_name_a_line(team: Commands, file: Path) -> None:
    file.write_bytes("\ufeffalice\r\n\n  bob \nalice\n".encode())
    team("user", "disable", "--file", file, "--yes")
    assert "Disabled 2 users; 0 were disabled already." in team.err
    assert disabled(team) == {"alice", "bob"}
    team("user", "enable", "--file", "-", stdin="bob\nalice")
    assert disabled(team) == set()
    team("user", "disable", "alice", "bob", "--yes")
    assert disabled(team) == {"alice", "bob"}


@pytest.mark.parametrize("verb", ["enable", "disable", "invite"])
def test_of_names_a_group_and_a_file_one_is_given(team: Commands, file: Path, verb: str) -> None:
    file.write_text("alice\n")
    for args in ([], ["alice", "--all-in", "dev"], ["--all-in", "dev", "--file", file]):
        team("user", verb, *args, status=2)
    for args in (["--all-in", "nobody"], ["--file", file.with_name("none")]):
        team("user", verb, *args, status=1)
    file.write_bytes(b"\xff\xfe")
    team("user", verb, "--file", file, status=1)
    # What a script does with no new users is done.
    file.write_bytes(b"\n \n")
    team("group", "add", "empty")
    before = team("user", "list", "--json")
    for args in (["--file", file], ["--all-in", "empty"]):
        team("user", verb, *args, *(["--yes"] if verb == "disable" else []))
    assert team("user", "list", "--json") == before


def test_all_wrong_names_are_told_and_nothing_is_done(team: Commands, file: Path) -> None:
    file.write_text("alice\nnobody\nbob\nci\nBob\n")
    before = team("audit", "list", "--json")
    for verb, count in (("disable", 3), ("enable", 3)):
        team("user", verb, "--file", file, *(["--yes"] if verb == "disable" else []), status=1)
        assert f"{count} of 5 were refused, so nothing was changed:" in team.err
        for name in ("nobody", "ci", "Bob"):
            assert repr(name) in team.err
    file.write_text("alice\nnew\nci\na/b\n")
    team("user", "invite", "--file", file, status=1)
    assert "2 of 4 were refused, so nothing was changed:" in team.err
    assert "a/b" in team.err
    assert team("audit", "list", "--json") == before
    assert "new" not in {user["name"] for user in team.json("user", "list")}


def test_the_last_administrator_is_not_disabled_with_others(team: Commands, file: Path) -> None:
    file.write_text(f"alice\n{ADMIN}\n")
    team("user", "disable", "--file", file, "--yes", status=1)
    assert "last administrator" in team.err
    assert disabled(team) == set()
    team("user", "disable", "--file", file, "--yes", "--force")
    assert disabled(team) == {"alice", ADMIN}


def test_many_are_invited_by_table_json_and_csv(team: Commands, file: Path) -> None:
    file.write_text("alice\nnew\n")
    links = []
    head, *lines = team("user", "invite", "--file", file).splitlines()
    assert head.split() == ["USER", "LINK"]
    assert [line.split()[0] for line in lines] == ["alice", "new"]
    links += [line.split()[1] for line in lines]
    assert "Each for one user alone" in team.err
    made = team.json("user", "invite", "--file", str(file))
    assert [each["user"] for each in made] == ["alice", "new"]
    assert all(each["link"].endswith(f"#{each['code']}") for each in made)
    links += [each["link"] for each in made]
    rows = list(csv.DictReader(io.StringIO(team("user", "invite", "--file", file, "--csv"))))
    assert [row["name"] for row in rows] == ["alice", "new"]
    assert all(row["link"].startswith("http") and row["expires"] for row in rows)
    links += [row["link"] for row in rows]
    assert len(set(links)) == 6
    team("user", "invite", "--file", file, "--csv", "--json", status=2)
    # One that is named has the form that it always had.
    assert team.json("user", "invite", "alice")["user"] == "alice"
    assert team("user", "invite", "alice").startswith("http")


def test_a_name_with_a_comma_or_a_quote_stays_one_field(team: Commands) -> None:
    name = 'o"brien;x'
    team("user", "invite", name)
    (row,) = csv.DictReader(io.StringIO(team("user", "invite", name, "--csv")))
    assert row["name"] == name


@pytest.mark.parametrize("name", ["=1+1", "+x", "@x", "-x"])
def test_no_formula_gets_into_a_spreadsheet(team: Commands, file: Path, name: str) -> None:
    file.write_text(f"alice\n{name}\n")
    before = team("audit", "list", "--json")
    team("user", "invite", "--file", file, "--csv", status=1)
    assert "formulas" in team.err
    assert team("audit", "list", "--json") == before
    team("user", "invite", "--file", file)


def test_who_has_a_password_or_is_disabled_is_left_out_of_a_group(team: Commands) -> None:
    team("user", "passwd", "alice", "--password-stdin", stdin=PASSWORD)
    team("user", "disable", "bob")
    assert [each["user"] for each in team.json("user", "invite", "--all-in", "dev")] == ["carol"]
    assert "2 who have a password or are disabled were left out." in team.err
    made = team.json("user", "invite", "--all-in", "dev", "--reset")
    assert [each["user"] for each in made] == ["alice", "carol"]
    team("user", "disable", "carol")
    team("user", "disable", "alice")
    assert team.json("user", "invite", "--all-in", "dev") == []
    team("user", "invite", "--all-in", "dev")
    assert "Nobody was invited." in team.err


def test_a_file_leaves_out_who_has_a_password_and_refuses_disabled_ones(
    team: Commands, file: Path
) -> None:
    team("user", "passwd", "alice", "--password-stdin", stdin=PASSWORD)
    file.write_text("alice\nbob\n")
    assert [each["user"] for each in team.json("user", "invite", "--file", str(file))] == ["bob"]
    team("user", "disable", "bob")
    team("user", "invite", "--file", file, status=1)
    assert "bob is disabled" in team.err


def test_many_are_one_change_of_the_store(team: Commands) -> None:
    before = team.last_change()
    team("user", "disable", "--all-in", "dev", "--yes")
    records = team.json("audit", "list", "--kind", "change", "--limit", 3)
    assert {record["at"] for record in records} == {records[0]["at"]}
    assert before["at"] != records[0]["at"]


def people(count: int) -> str:
    lines = [f"  user{number}: {{kind: user}}" for number in range(count)]
    return "\n".join(["accounts:", f"  {ADMIN}: {{kind: user, admin: true}}", *lines, ""])


def test_a_policy_of_many_new_users_is_told_in_short_and_says_what_comes_next(
    run: Commands, file: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(people(1200) + "  off: {kind: user, disabled: true}\n  bot: {kind: robot}\n")
    said = run("policy", "plan", policy)
    assert said.count("+ add user ") == 5
    assert "… and 1,196 more like these; --verbose shows all" in said
    assert "1,201 users start disabled: off, user0, user1, user10, user100, … and 1,196" in run.err
    assert "robot bot starts disabled\n" in run.err
    assert run("policy", "plan", policy, "--verbose").count("+ add user ") == 1201
    said = run("policy", "apply", policy, "--yes", "--users-to", file)
    assert said.count("+ add user ") == 5
    enable, invite, _, robot = run.err.splitlines()[-4:]
    assert robot == "  authserver robot enable bot"
    assert enable == f"  authserver user enable --file {file}"
    assert invite == f"  authserver user invite --file {file} --csv > invitations.csv"
    run(*enable.split()[1:])
    links = run(*invite.partition(">")[0].split()[1:]).splitlines()
    assert len(links) == 1201
    users = run.json("user", "list")
    assert sum(user["invited_until"] is not None for user in users) == 1200
    assert [user["name"] for user in users if user["disabled"]] == ["off"]


def test_without_a_file_for_names_the_commands_say_that_one_is_needed(
    run: Commands, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(people(6))
    run("policy", "apply", policy, "--yes")
    assert "  authserver user enable --file NAMES\n" in run.err
    assert "Write their names into a file NAMES, one a line" in run.err
    names = tmp_path / "names"
    run("policy", "apply", policy, "--yes", "--users-to", names)
    assert names.read_text() == ""
    assert "user enable" not in run.err


def test_where_the_names_cannot_be_written_nothing_is_applied(
    run: Commands, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(people(2))
    run("policy", "apply", policy, "--yes", "--users-to", tmp_path / "no" / "names", status=1)
    assert len(run.json("user", "list")) == 1


def test_five_thousand_people_come_in_by_three_commands_in_two_minutes(
    run: Commands, file: Path, tmp_path: Path
) -> None:
    groups = "".join(
        f"  team{n}: [{', '.join(f'user:user{m}' for m in range(50 * n, 50 * n + 50))}]\n"
        for n in range(100)
    )
    rules = "".join(
        f"  - {{effect: {'deny' if n % 20 == 19 else 'allow'}, subjects: [group:team{n % 100}], "
        f"patterns: [team{n % 100}/app{n // 100}/**], actions: [pull]}}\n"
        for n in range(2000)
    )
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"{people(5000)}groups:\n{groups}rules:\n{rules}")
    began = time.monotonic()
    run("policy", "apply", policy, "--yes", "--users-to", file)
    run("user", "enable", "--file", file)
    links = run("user", "invite", "--file", file, "--csv").splitlines()
    assert time.monotonic() - began < 120
    assert len(links) == 5001
    assert run("acl", "check", "user51", "team1/app0/x:pull")

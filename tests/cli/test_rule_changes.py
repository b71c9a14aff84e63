"""authserver acl undo, and --dry-run of the commands that change a rule."""

import pytest

from tests.cli.commands import Commands
from tests.world import PASSWORD


@pytest.fixture
def alice(run: Commands) -> Commands:
    """alice, and rule 3, which lets her pull."""
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    run("acl", "allow", "user:alice", "a/**", "pull", "--comment", "hers")
    return run


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        (
            ("allow", "user:alice", "a/**", "push"),
            [
                "+ add rule (allow user:alice a/** pull,push on every registry)",
                "    alice gains push on a/**",
            ],
        ),
        (
            ("deny", "everyone", "a/b", "pull"),
            ["+ add rule (deny everyone a/b pull,push on every registry)"],
        ),
        (("edit", "3", "--actions", "delete"), ["    alice gains delete on a/**"]),
        (("disable", "3"), ["    alice loses pull on a/**"]),
        (("enable", "3"), ["Nothing to change."]),
        (("remove", "3"), ["    alice loses pull on a/**"]),
        (("edit", "3", "--comment", "hi"), ["    Nobody gains or loses."]),
    ],
)
def test_a_dry_run_tells_who_gains_or_loses_and_changes_nothing(
    alice: Commands, command: tuple[str, ...], lines: list[str]
) -> None:
    before = alice("acl", "list", "--json"), alice("audit", "list", "--json")
    printed = alice("acl", *command, "--dry-run").splitlines()
    assert [line for line in lines if line not in printed] == []
    answer = alice.json("acl", *command, "--dry-run")
    assert set(answer) == {"change", "effects", "warnings"}
    assert (alice("acl", "list", "--json"), alice("audit", "list", "--json")) == before


def test_json_is_for_a_dry_run(alice: Commands) -> None:
    alice("acl", "disable", "3", "--json", status=1)
    assert "--json is for --dry-run" in alice.err
    assert alice.json("acl", "show", "3")["enabled"]


def test_a_dry_run_warns_and_refuses(alice: Commands) -> None:
    alice("acl", "allow", "everyone", "**", "push", "--dry-run")
    assert "public-write" in alice.err
    alice("acl", "allow", "user:alice", "a/**", "pull", "--dry-run", status=1)
    assert "there already" in alice.err
    alice("acl", "remove", "9", "--dry-run", status=1)
    assert "there is no rule 9" in alice.err


def test_the_latest_change_is_shown_and_undone(alice: Commands) -> None:
    rule = alice.json("acl", "show", "3")
    alice("acl", "remove", "3")
    printed = alice("acl", "undo", "--dry-run")
    assert "- remove rule 3 (allow user:alice a/** pull on every registry)" in printed
    assert "    alice gains pull on a/**" in printed
    alice("acl", "show", "3", status=1)
    alice("acl", "undo", status=2)
    assert "acl undo --yes" in alice.err
    alice("acl", "undo", "--yes")
    assert alice.json("acl", "show", "3") == rule
    told = alice.json("acl", "undo", "--yes")
    assert (told["rule"], told["undoes"]) == (3, True)
    assert told["undoing"]["effects"]["told"][0]["accounts"] == ["alice"]
    alice("acl", "show", "3", status=1)


def test_undo_asks(alice: Commands) -> None:
    done = alice.at_terminal("acl", "undo", answer=b"n\n")
    assert done.returncode == 1
    assert alice.json("acl", "show", "3")
    done = alice.at_terminal("acl", "undo", answer=b"y\n")
    assert done.returncode == 0
    alice("acl", "show", "3", status=1)

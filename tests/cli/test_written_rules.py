"""Rules that lint calls an error are warned of when they are written."""

import shlex

import pytest

from tests.cli.commands import Commands
from tests.world import PASSWORD

OPEN = "lets anybody push without credentials (public-write)"


@pytest.fixture
def alice(run: Commands) -> Commands:
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    return run


def taken_back(run: Commands) -> None:
    """Run the command that takes back what the latest one wrote."""
    (line,) = [line for line in run.err.splitlines() if line.startswith("To take it back: ")]
    program, *command = shlex.split(line.partition(": ")[2])
    assert program == "authserver"
    run(*command)


def test_a_new_rule_is_warned_of_and_taken_back(run: Commands) -> None:
    before = run.json("acl", "list")
    run("acl", "allow", "everyone", "**", "push")
    assert OPEN in run.err
    assert "To mend it: authserver acl edit 3 --actions pull" in run.err
    taken_back(run)
    assert run.json("acl", "list") == before


@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_a_pattern_that_matches_nothing_is_warned_of(alice: Commands, effect: str) -> None:
    alice("acl", effect, "user:alice", "Team/**", "pull")
    assert "(host-only)" in alice.err
    assert "To mend it: authserver acl edit 3 --patterns 'team/**'" in alice.err
    taken_back(alice)
    assert len(alice.json("acl", "list")) == 2


@pytest.mark.parametrize(
    "edit",
    [
        ("--subjects", "everyone"),
        ("--subjects", "everyone", "--patterns", "**", "--registry", "registry"),
    ],
)
def test_an_edit_is_warned_of_and_taken_back(alice: Commands, edit: tuple[str, ...]) -> None:
    alice("acl", "allow", "user:alice", "a/**", "pull,push")
    before = alice.json("acl", "show", "3")
    alice("acl", "edit", "3", *edit)
    assert OPEN in alice.err
    taken_back(alice)
    after = alice.json("acl", "show", "3")
    assert {**after, "edited_by": None, "edited_at": None} == before


def test_a_rule_that_is_enabled_is_warned_of(run: Commands) -> None:
    run("acl", "allow", "everyone", "**", "push")
    run("acl", "disable", "3")
    assert "Warning: rule" not in run.err
    run("acl", "enable", "3")
    assert OPEN in run.err
    taken_back(run)
    assert run.json("acl", "show", "3")["enabled"] is False


def test_a_good_rule_is_not_warned_of(alice: Commands) -> None:
    alice("acl", "allow", "user:alice", "team/**", "push")
    alice("acl", "edit", "3", "--actions", "pull")
    assert "Warning: rule" not in alice.err
    assert "take it back" not in alice.err

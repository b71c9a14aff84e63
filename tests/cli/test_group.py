"""authserver group: named sets of accounts."""

import pytest

from tests.cli.commands import Commands
from tests.world import ADMIN, PASSWORD


@pytest.fixture
def dev(run: Commands) -> Commands:
    """A group dev with the member alice."""
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    run("group", "add", "dev")
    run("group", "add-member", "dev", "alice")
    return run


def test_a_group_is_added_listed_and_shown(dev: Commands) -> None:
    dev("group", "add", "empty")
    listed = dev.json("group", "list")
    assert [(g["name"], g["members"]) for g in listed] == [("dev", ["user:alice"]), ("empty", [])]
    assert dev.json("group", "show", "dev") == listed[0]
    assert dev("group", "list").splitlines()[1].split()[:3] == ["dev", "1", "user:alice"]
    assert "user:alice" in dev("group", "show", "dev")


def test_no_groups_is_an_empty_list(run: Commands) -> None:
    assert run.json("group", "list") == []
    assert run("group", "list") == ""
    assert "no groups" in run.err


@pytest.mark.parametrize("name", ["dev", "DEV", "Dev"])
def test_a_group_is_added_once_whatever_the_case(standing: Commands, name: str) -> None:
    standing("group", "add", name, status=1)
    assert "already" in standing.err


@pytest.mark.parametrize("name", ["", "a:b", "a b", "everyone", "authenticated"])
def test_what_cannot_be_a_name_is_refused(standing: Commands, name: str) -> None:
    standing("group", "add", name, status=1)


def test_a_group_may_have_an_accounts_name(run: Commands) -> None:
    run("group", "add", ADMIN)


def test_a_member_is_added_once_and_removed_once(dev: Commands) -> None:
    dev("group", "add-member", "dev", "alice")
    assert "already" in dev.err
    dev("group", "remove-member", "dev", "alice")
    assert dev.json("group", "show", "dev")["members"] == []
    dev("group", "remove-member", "dev", "alice", status=1)


@pytest.mark.parametrize("command", ["add-member", "remove-member"])
@pytest.mark.parametrize(
    ("group", "account"),
    [("nowhere", "alice"), ("dev", "nobody"), ("DEV", "alice"), ("dev", "dev")],
)
def test_members_and_groups_must_exist(
    standing: Commands, command: str, group: str, account: str
) -> None:
    standing("group", command, group, account, status=1)


@pytest.mark.parametrize("command", ["show", "remove"])
def test_a_group_that_does_not_exist_is_not_found(standing: Commands, command: str) -> None:
    standing("group", command, "nowhere", status=1)
    assert "'nowhere'" in standing.err


def test_a_members_right_ends_with_its_membership(dev: Commands) -> None:
    dev("acl", "allow", "group:dev", "a", "pull")
    dev("acl", "check", "alice", "repository:a:pull")
    dev("group", "remove-member", "dev", "alice")
    dev("acl", "check", "alice", "repository:a:pull", status=1)


@pytest.mark.parametrize("command", [["remove", "dev", "--yes"], ["remove-member", "dev", "alice"]])
def test_taking_away_what_a_deny_names_needs_force(dev: Commands, command: list[str]) -> None:
    dev("acl", "deny", "group:dev", "a", "pull")
    dev("group", *command, status=1)
    assert "--force" in dev.err
    assert dev.json("group", "show", "dev")["members"] == ["user:alice"]
    dev("group", *command, "--force")
    assert dev.json("user", "show", "alice")["groups"] == []


def test_force_says_what_it_is_for(standing: Commands) -> None:
    said = " ".join(standing("group", "remove-member", "--help").split())
    assert "even where a deny names the group, so that the account gains" in said


def test_a_group_that_is_made_again_inherits_nothing(dev: Commands) -> None:
    dev("acl", "allow", "group:dev", "a", "pull")
    dev("group", "remove", "dev", "--yes")
    assert "was removed" in dev.err
    dev("group", "add", "dev")
    assert dev.json("group", "show", "dev")["members"] == []
    assert dev.json("acl", "list", "--subject", "group:dev") == []

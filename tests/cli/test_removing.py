"""Commands that take something away: what they say, ask and refuse."""

import pytest

from authserver.runtime.settings import Settings
from tests.cli.commands import Commands
from tests.world import ADMIN, PASSWORD, SERVICE, World

TAKING = {
    "user": ("user", "remove", "alice"),
    "robot": ("robot", "remove", "ci"),
    "group": ("group", "remove", "dev"),
    "registry": ("registry", "remove", "spare"),
    "authority": ("key", "authority", "retire", "--force"),
    "sessions": ("session", "revoke", "--account", ADMIN),
    "refresh tokens": ("registry", "edit", SERVICE, "--no-refresh-tokens"),
}


@pytest.fixture
def peopled(run: Commands, settings: Settings) -> Commands:
    """An installation with one of everything that commands take away."""
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    run("robot", "add", "ci", "--owner", ADMIN)
    run("group", "add", "dev")
    run("group", "add-member", "dev", "alice")
    run("registry", "add", "spare")
    run("acl", "allow", "user:alice", "a", "pull")
    run("token", "create", "alice", "--name", "laptop")
    run("key", "authority", "rotate")
    run("key", "authority", "confirm", SERVICE, "spare")
    run("key", "authority", "activate")
    world = World.over(settings)
    world.log_in(ADMIN)
    world.close()
    return run


@pytest.mark.parametrize("command", TAKING.values(), ids=TAKING)
def test_without_a_terminal_it_says_the_command_that_does_it(
    peopled: Commands, command: tuple[str, ...]
) -> None:
    before = peopled("audit", "list", "--json", "--kind", "change")
    peopled(*command, status=2)
    said = peopled.err
    assert peopled("audit", "list", "--json", "--kind", "change") == before
    suggested = f"authserver {' '.join(command)} --yes"
    assert said.rstrip().endswith(f"If so: {suggested}")
    peopled(*suggested.split()[1:])


def test_what_goes_is_said_with_numbers(peopled: Commands) -> None:
    peopled("user", "remove", "alice", status=2)
    assert "Goes with it: 1 rule: 3 (allow user:alice a pull on every registry)\n" in peopled.err
    assert "Goes with it: 1 app token: 1 (laptop of alice)\n" in peopled.err
    peopled("user", "remove", "alice", "--yes")
    assert "Removed the user alice with 1 app token." in peopled.err
    peopled("session", "revoke", "--account", ADMIN, status=2)
    assert f"Goes with it: 1 login: 1 ({ADMIN} on {SERVICE})\n" in peopled.err


def test_registries_that_would_trust_nothing_are_named(peopled: Commands) -> None:
    peopled("key", "authority", "rotate")
    peopled("key", "authority", "confirm", SERVICE)
    peopled("key", "authority", "retire", "3", status=2)
    assert f"Goes with it: 1 confirmation: {SERVICE}\n" in peopled.err


def test_a_name_that_begins_with_a_dash_can_be_pasted(run: Commands) -> None:
    run("group", "add", "--", "-dev")
    run("group", "remove", "--", "-dev", status=2)
    assert run.err.rstrip().endswith("authserver group remove --yes -- -dev")
    run("group", "remove", "--yes", "--", "-dev")


@pytest.mark.parametrize(("answer", "removed"), [(b"y\n", True), (b"n\n", False), (b"\x04", False)])
def test_at_a_terminal_it_asks(peopled: Commands, answer: bytes, removed: bool) -> None:
    done = peopled.at_terminal("user", "remove", "alice", answer=answer)
    assert b"Goes with it: 1 app token: 1 (laptop of alice)" in done.stderr
    assert b"Remove the user alice? [y/N]" in done.stderr
    assert (done.returncode == 0) == removed
    names = [user["name"] for user in peopled.json("user", "list")]
    assert ("alice" not in names) == removed


@pytest.mark.parametrize(
    "command",
    [("user", "remove"), ("user", "disable"), ("user", "edit", "--no-admin")],
    ids=lambda words: words[1],
)
def test_the_last_administrator_goes_by_force_only(
    peopled: Commands, command: tuple[str, ...]
) -> None:
    peopled("robot", "remove", "ci", "--yes")
    sure = ("--yes",) if "remove" in command else ()
    peopled(*command, ADMIN, *sure, status=1)
    assert "last administrator" in peopled.err
    assert "--force" in peopled.err
    peopled(*command, ADMIN, *sure, "--force")


def test_a_refusal_comes_before_any_question(peopled: Commands) -> None:
    peopled("acl", "deny", "user:alice", "b", "pull")
    before = peopled("audit", "list", "--json", "--kind", "change")
    peopled("user", "remove", "alice", status=1)
    assert "rules deny user alice something" in peopled.err
    assert "Goes with it" not in peopled.err
    assert peopled("audit", "list", "--json", "--kind", "change") == before
    peopled("audit", "verify")


def test_nothing_is_asked_where_nothing_ends(run: Commands) -> None:
    run("session", "revoke", "--account", ADMIN)
    assert f"Ended 0 sessions of {ADMIN}." in run.err
    run("registry", "edit", SERVICE, "--no-refresh-tokens")


def test_the_only_registry_in_use_goes_by_force_only(run: Commands, settings: Settings) -> None:
    world = World.over(settings)
    world.get(f"service={SERVICE}")
    world.wiring.maintenance.tick()
    world.close()
    run("registry", "remove", SERVICE, "--yes", status=1)
    assert "only registry that was asked for tokens in the past day" in run.err
    run("registry", "remove", SERVICE, "--yes", "--force")

"""authserver user: people and their passwords."""

from pathlib import Path

import bcrypt
import pytest

from authserver.core import password_rules
from authserver.db import logins, lookup, snapshot
from authserver.runtime.settings import Settings
from tests.cli.commands import Commands
from tests.programs import Authserver
from tests.world import ADMIN, PASSWORD, World


def add(run: Commands, name: str, *flags: str, stdin: str | bytes = PASSWORD) -> str:
    return run("user", "add", name, "--password-stdin", *flags, stdin=stdin)


def logs_in(settings: Settings, name: str, password: str) -> bool:
    """Whether a server that starts now lets the user in."""
    world = World.over(settings)
    status = world.get(auth=(name, password)).status_code
    world.close()
    assert status in (200, 401)
    return status == 200


def test_a_user_is_added_with_the_first_line_as_password(run: Commands, settings: Settings) -> None:
    assert add(run, "alice", stdin=f"{PASSWORD}\nsecond\n") == ""
    assert "Added the user alice" in run.err
    assert PASSWORD not in run.err
    shown = run.json("user", "show", "alice")
    assert shown.pop("created_at")
    assert shown == {
        "name": "alice",
        "kind": "user",
        "admin": False,
        "disabled": False,
        "auditor": False,
        "app_tokens_only": False,
        "second_factor": False,
        "password": True,
        "last_login_at": None,
        "last_used_at": None,
        "invited_until": None,
        "groups": [],
        "rules": [],
    }
    assert logs_in(settings, "alice", PASSWORD)
    assert not logs_in(settings, "alice", f"{PASSWORD}\n")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_end_of_the_line_is_no_part_of_the_password(
    run: Commands, settings: Settings, ending: str
) -> None:
    add(run, "alice", stdin=f" pass word: {ending}".encode())
    assert logs_in(settings, "alice", " pass word: ")


@pytest.mark.parametrize(
    "line",
    ["", "\n", "seven77\n", "x" * 73, "ä" * 37, "eight\0888", b"\xff\xfe"],
    ids=lambda line: repr(line)[:12],
)
def test_what_cannot_be_a_password_is_refused(standing: Commands, line: str | bytes) -> None:
    standing("user", "add", "new", "--password-stdin", stdin=line, status=1)
    assert "password" in standing.err
    standing("user", "passwd", ADMIN, "--password-stdin", stdin=line, status=1)


def test_a_password_of_72_bytes_is_taken(run: Commands, settings: Settings) -> None:
    add(run, "alice", stdin="ä" * 36)
    assert logs_in(settings, "alice", "ä" * 36)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "a:b",
        "a,b",
        "a*",
        "{a}",
        "<token>",
        "a b",
        "a\tb",
        "a\x00",
        "a\u00a0b",
        "\u200b",
        "everyone",
        "Anonymous",
        "x" * 129,
    ],
)
def test_what_cannot_be_a_name_is_refused(standing: Commands, name: str) -> None:
    standing("user", "add", name, "--password-stdin", stdin=PASSWORD, status=1)


@pytest.mark.parametrize("again", ["straße", "STRASSE", "Straße"])
def test_names_must_differ_in_more_than_case(run: Commands, again: str) -> None:
    add(run, "straße")
    run("user", "add", again, "--password-stdin", stdin=PASSWORD, status=1)
    assert "already" in run.err


def test_a_name_is_kept_in_nfc(run: Commands) -> None:
    add(run, "mu\u0308ller")
    assert run.json("user", "show", "m\u00fcller")["name"] == "m\u00fcller"
    assert run.json("user", "show", "mu\u0308ller")["name"] == "m\u00fcller"


@pytest.mark.parametrize(("name", "said"), [("müller", True), ("alice@x", True), ("alice", False)])
def test_a_name_that_no_placeholder_can_stand_for_is_said_to_be_one(
    run: Commands, name: str, said: bool
) -> None:
    add(run, name)
    assert ("{account}" in run.err) == said


def test_an_administrator_gets_no_repository_right_by_that(run: Commands) -> None:
    add(run, "boss", "--admin")
    assert run.json("user", "show", "boss")["admin"] is True
    run("acl", "check", "boss", "repository:a:pull", status=1)


def test_a_new_password_replaces_the_old_one(run: Commands, settings: Settings) -> None:
    add(run, "alice")
    run("user", "passwd", "alice", "--password-stdin", stdin="tomorrow\n")
    assert logs_in(settings, "alice", "tomorrow")
    assert not logs_in(settings, "alice", PASSWORD)


@pytest.mark.parametrize("command", ["add", "passwd"])
@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("of 15 character", "15 characters is too short: choose one of at least 16 characters"),
        ("123456789987654321", "one of the most common"),
        ("Alice00000000000", "the account's name"),
    ],
)
def test_a_new_password_follows_the_rules(
    run: Commands, command: str, password: str, why: str
) -> None:
    if command == "passwd":
        add(run, "alice")
    before = run.json("user", "list")
    run.env["AUTHSERVER_PASSWORD_MIN_LENGTH"] = "16"
    run("user", command, "alice", "--password-stdin", stdin=password, status=1)
    assert why in run.err
    assert run.json("user", "list") == before


@pytest.mark.parametrize("command", [["init"], ["user", "add"], ["user", "passwd"]])
def test_help_says_how_long_a_password_must_be(run: Commands, command: list[str]) -> None:
    text = " ".join(run(*command, "--help").split())
    minimum = Settings.model_fields["password_min_length"].default
    assert f"AUTHSERVER_PASSWORD_MIN_LENGTH says ({minimum} unless it is set)" in text
    assert "at most 72 bytes" in text


@pytest.mark.parametrize("minimum", ["7", "65", "x"])
def test_a_minimum_below_8_or_above_64_is_refused(run: Commands, minimum: str) -> None:
    run.env["AUTHSERVER_PASSWORD_MIN_LENGTH"] = minimum
    run("user", "list", status=1)
    assert "AUTHSERVER_PASSWORD_MIN_LENGTH" in run.err


def test_a_password_from_before_a_longer_minimum_stays_good(
    run: Commands, settings: Settings
) -> None:
    add(run, "alice")
    longer = settings.model_copy(update={"password_min_length": 64})
    assert logs_in(longer, "alice", PASSWORD)


def test_an_imported_hash_of_a_common_password_stays_good(
    run: Commands, settings: Settings, tmp_path: Path
) -> None:
    weak = bcrypt.hashpw(b"password", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    (tmp_path / "htpasswd").write_text(f"alice:{weak}\n")
    run("import", "htpasswd", tmp_path / "htpasswd")
    assert logs_in(settings, "alice", "password")


def test_a_password_is_hashed_at_the_configured_cost(run: Commands, settings: Settings) -> None:
    run.env["AUTHSERVER_BCRYPT_COST"] = "5"
    add(run, "alice")
    world = World.over(settings)
    with world.wiring.store.read() as session:
        stored = snapshot.load(session).accounts["alice"].password_hash
    world.close()
    assert stored is not None
    assert password_rules.cost_of(stored) == 5


def test_without_a_terminal_and_without_a_password_a_command_does_not_hang(run: Commands) -> None:
    done = Authserver(run.data_dir).run("user", "add", "alice", stdin="sesame\n", check=False)
    assert done.returncode == 2
    assert "--password-stdin" in done.stderr
    run("user", "passwd", ADMIN, stdin="sesame\n", status=2)
    assert "--password-stdin" in run.err
    assert [user["name"] for user in run.json("user", "list")] == [ADMIN]


def test_a_disabled_user_is_let_in_again_when_enabled(run: Commands, settings: Settings) -> None:
    add(run, "alice")
    run("user", "disable", "alice")
    assert run.json("user", "show", "alice")["disabled"] is True
    assert "disabled" in run("user", "list")
    assert not logs_in(settings, "alice", PASSWORD)
    run("user", "disable", "alice")
    assert "already" in run.err
    run("user", "enable", "alice")
    assert logs_in(settings, "alice", PASSWORD)
    run("user", "enable", "alice")
    assert "already" in run.err


@pytest.mark.parametrize("command", ["show", "remove", "disable", "enable", "passwd"])
@pytest.mark.parametrize(("name", "hint"), [("nobody", "'nobody'"), ("Admin", "case matters")])
def test_a_user_that_does_not_exist_is_not_found(
    standing: Commands, command: str, name: str, hint: str
) -> None:
    flags = ["--password-stdin"] if command == "passwd" else []
    standing("user", command, name, *flags, stdin=PASSWORD, status=1)
    assert hint in standing.err
    assert standing.out == ""


def test_show_names_groups_and_rules(run: Commands) -> None:
    add(run, "alice")
    run("group", "add", "dev")
    run("group", "add-member", "dev", "alice")
    run("acl", "allow", "user:alice", "team/**", "pull")
    shown = run.json("user", "show", "alice")
    assert shown["groups"] == ["dev"]
    assert [rule["patterns"] for rule in shown["rules"]] == [["team/**"]]
    text = run("user", "show", "alice")
    for word in ("alice", "enabled", "dev", "team/**"):
        assert word in text


def test_removing_a_user_takes_its_rules_and_memberships_with_it(run: Commands) -> None:
    add(run, "alice")
    run("group", "add", "dev")
    run("group", "add-member", "dev", "alice")
    run("acl", "allow", "user:alice", "team/**", "pull")
    run("user", "remove", "alice", "--yes")
    assert "was removed" in run.err
    assert run.json("group", "show", "dev")["members"] == []
    add(run, "alice")
    shown = run.json("user", "show", "alice")
    assert (shown["groups"], shown["rules"]) == ([], [])


def test_removing_a_user_that_a_deny_names_needs_force(run: Commands) -> None:
    add(run, "alice")
    run("acl", "deny", "user:alice", "a", "pull")
    run("user", "remove", "alice", "--yes", status=1)
    assert "--force" in run.err
    assert run.json("user", "show", "alice")["rules"]
    run("user", "remove", "alice", "--force", "--yes")
    run("user", "show", "alice", status=1)


def test_a_user_who_cannot_log_in_yet_is_listed_as_such(run: Commands) -> None:
    run("user", "invite", "dora")
    invited = run.json("user", "show", "dora")["invited_until"]
    assert invited
    until = f"invited until {invited[:10]} {invited[11:19]}Z"
    assert until in run("user", "show", "dora")
    assert until in run("user", "list")
    assert [user["invited_until"] for user in run.json("user", "list")] == [None, invited]
    run("user", "disable", "dora")
    assert "disabled" in run("user", "show", "dora")


def test_a_user_whose_invitation_has_ended_has_no_password_yet(
    run: Commands, settings: Settings
) -> None:
    run("user", "invite", "dora")
    world = World.over(settings)
    with world.wiring.store.change("test") as change:
        logins.end_invitation(change, lookup.account(change.session, "dora"))
    world.close()
    assert "no password yet" in run("user", "list")
    assert "no password yet" in run("user", "show", "dora")


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        (None, "the link is localhost"),
        ("http://127.0.0.1:5001", "the link is 127.0.0.1"),
        ("http://r.example.com", "the link is http"),
        ("https://r.example.com", None),
    ],
)
def test_an_invitation_that_reaches_nobody_is_warned_of(
    run: Commands, url: str | None, warned: str | None
) -> None:
    run.env["AUTHSERVER_PUBLIC_URL"] = url
    run("user", "invite", "dora")
    assert (f"Warning: {warned}" in run.err) == (warned is not None)
    assert ("Warning: the" in run.err) == (warned is not None)


def test_users_are_listed_in_order_without_their_hashes(run: Commands) -> None:
    for name in ("Zoe", "bob"):
        add(run, name)
    assert [user["name"] for user in run.json("user", "list")] == [ADMIN, "bob", "Zoe"]
    assert "$2b$" not in run.out
    head, *lines = run("user", "list").splitlines()
    assert head.split()[:4] == ["NAME", "ROLE", "STATE", "GROUPS"]
    assert [line.split()[:3] for line in lines] == [
        [ADMIN, "administrator", "enabled"],
        ["bob", "none", "enabled"],
        ["Zoe", "none", "enabled"],
    ]


def test_a_user_becomes_an_administrator_and_is_one_no_longer(run: Commands) -> None:
    add(run, "alice")
    run("user", "edit", "alice", "--admin")
    assert run.json("user", "show", "alice")["admin"] is True
    change = run.last_change()
    assert (change["action"], change["before"], change["after"]) == (
        "user.edit",
        {"admin": False},
        {"admin": True},
    )
    run("user", "edit", "alice", "--admin")
    assert "as before" in run.err
    run("user", "edit", "alice", "--no-admin")
    assert run.json("user", "show", "alice")["admin"] is False
    run("user", "edit", "nobody", "--admin", status=1)


@pytest.fixture
def forgetful(run: Commands) -> Commands:
    """alice, who administers nothing, has app tokens for the day when she will."""
    add(run, "alice")
    run("token", "create", "alice", "--name", "old", "--admin")
    run("token", "create", "alice", "--name", "both", "--admin", "--scope", "repository:a:pull")
    run("token", "create", "alice", "--name", "plain")
    return run


def tokens_of_alice(run: Commands) -> list[str]:
    return [token["name"] for token in run.json("token", "list", "alice")]


def test_no_forgotten_app_token_administers_when_its_user_may(forgetful: Commands) -> None:
    forgetful("user", "edit", "alice", "--admin", status=1)
    assert "1 (old), 2 (both)" in forgetful.err
    assert "authserver user edit alice --admin --admin-tokens revoke" in forgetful.err
    assert forgetful.json("user", "show", "alice")["admin"] is False
    forgetful("user", "edit", "alice", "--admin", "--admin-tokens", "revoke")
    assert forgetful.json("user", "show", "alice")["admin"] is True
    assert tokens_of_alice(forgetful) == ["plain"]


def test_app_tokens_that_are_to_administer_are_kept_and_recorded(forgetful: Commands) -> None:
    forgetful("user", "edit", "alice", "--admin", "--admin-tokens", "keep")
    assert forgetful.last_change()["after"] == {"admin": True, "admin_tokens": [1, 2]}
    assert tokens_of_alice(forgetful) == ["old", "both", "plain"]
    forgetful("user", "edit", "alice", "--no-admin", "--admin-tokens", "keep", status=2)
    # Whoever is an administrator no more is asked again.
    forgetful("user", "edit", "alice", "--no-admin")
    forgetful("user", "edit", "alice", "--admin", status=1)


def test_a_user_reads_the_administration_and_no_more(run: Commands) -> None:
    add(run, "vera", "--auditor")
    assert run.last_change()["after"] == {"admin": False, "auditor": True}
    shown = run.json("user", "show", "vera")
    assert (shown["admin"], shown["auditor"]) == (False, True)
    assert "role auditor" in " ".join(run("user", "show", "vera").split())
    assert "auditor" in run("user", "list")
    run("user", "edit", "vera", "--auditor")
    assert "vera may read the administration and change nothing, as before." in run.err
    run("user", "edit", "vera", "--admin")
    assert "role administrator, auditor" in " ".join(run("user", "show", "vera").split())
    run("user", "edit", "vera", "--no-admin", "--no-auditor")
    assert "vera may not administer now." in run.err
    assert run.last_change()["before"] == {"admin": True, "auditor": True}
    run("user", "edit", "admin", "--no-admin", "--auditor", status=1)


def test_no_forgotten_app_token_reads_when_its_user_may(forgetful: Commands) -> None:
    forgetful("user", "edit", "alice", "--auditor", status=1)
    assert "1 (old), 2 (both)" in forgetful.err
    assert "authserver user edit alice --auditor --admin-tokens revoke" in forgetful.err
    forgetful("user", "edit", "alice", "--auditor", "--admin-tokens", "keep")
    assert forgetful.last_change()["after"] == {"auditor": True, "admin_tokens": [1, 2]}
    # They would administer next.
    forgetful("user", "edit", "alice", "--admin", status=1)
    assert "1 (old), 2 (both)" in forgetful.err
    forgetful("user", "edit", "alice", "--admin", "--admin-tokens", "revoke")
    assert tokens_of_alice(forgetful) == ["plain"]


def test_a_policy_wakes_no_forgotten_app_token(forgetful: Commands, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("accounts:\n  alice: {kind: user, admin: true}\n")
    forgetful("policy", "apply", file, "--yes", status=1)
    assert "--admin-tokens revoke" in forgetful.err
    forgetful("user", "edit", "alice", "--admin", "--admin-tokens", "revoke")
    forgetful("policy", "apply", file, "--yes")


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (b"keep\n", ["old", "both", "plain"]),
        (b"revoke\n", ["plain"]),
        (b"\x04", None),
    ],
)
def test_at_a_terminal_it_asks_about_forgotten_app_tokens(
    forgetful: Commands, answer: bytes, left: list[str] | None
) -> None:
    done = forgetful.at_terminal("user", "edit", "alice", "--admin", answer=answer)
    assert b"The app token 1 (old) would administer" in done.stderr
    assert (done.returncode == 0) == (left is not None)
    assert forgetful.json("user", "show", "alice")["admin"] == (left is not None)
    assert tokens_of_alice(forgetful) == (left or ["old", "both", "plain"])


def test_a_user_is_renamed_and_told_what_goes_by_the_name(
    run: Commands, settings: Settings
) -> None:
    add(run, "alice")
    assert run("user", "rename", "alice", "alicia") == ""
    assert "Renamed the user alice to alicia." in run.err
    assert "policy file" in run.err
    assert "{account}" not in run.err
    assert logs_in(settings, "alicia", PASSWORD)
    assert not logs_in(settings, "alice", PASSWORD)
    run("acl", "allow", "authenticated", "{account}/**", "pull")
    run("user", "rename", "alicia", "alice@example.com")
    assert "under alicia/ stay" in run.err
    assert "matches nothing" in run.err
    run("user", "rename", "alice@example.com", "Alice@example.com")
    run("user", "rename", "Alice@example.com", "Alice@example.com")
    assert "already" in run.err


@pytest.mark.parametrize("noun", ["user", "robot", "group"])
def test_a_name_that_is_taken_is_not_given_again(run: Commands, noun: str) -> None:
    add(run, "alice")
    run("robot", "add", "ci")
    for group in ("dev", "ops"):
        run("group", "add", group)
    name, taken = {"user": ("alice", "CI"), "robot": ("ci", "alice"), "group": ("dev", "OPS")}[noun]
    run(noun, "rename", name, taken, status=1)
    assert "already" in run.err
    run(noun, "rename", "nobody", "new", status=1)
    run(noun, "rename", name, "a b", status=1)


def test_a_user_may_have_app_tokens_only(run: Commands) -> None:
    run("user", "add", "bob", "--password-stdin", "--app-tokens-only", stdin=PASSWORD)
    assert run.json("user", "show", "bob")["app_tokens_only"] is True
    assert "app tokens only  yes" in run("user", "show", "bob")
    run("user", "edit", "bob", "--passwords")
    assert "bob may use the password now." in run.err
    assert run.json("user", "show", "bob")["app_tokens_only"] is False
    run("user", "edit", "bob", "--app-tokens-only", "--admin")
    assert "bob may administer now.\nbob logs in with app tokens only now." in run.err
    run("user", "edit", "bob", "--app-tokens-only")
    assert "as before" in run.err
    run("user", "edit", "bob", status=2)
    run("robot", "add", "ci")
    run("user", "edit", "ci", "--app-tokens-only", status=1)


def test_a_reset_at_once_of_the_last_administrator_needs_force(run: Commands) -> None:
    run("user", "invite", ADMIN, "--reset", "--now", status=1)
    assert "last administrator" in run.err
    run("user", "invite", ADMIN, "--reset")
    run("user", "invite", ADMIN, "--reset", "--now", "--force")
    assert run.json("user", "show", ADMIN)["password"] is False

"""``authserver robot``, ``token``, ``session`` and ``user invite``."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from authserver.cli import cli
from authserver.db import refresh_tokens
from authserver.runtime.settings import Settings
from tests import stores
from tests.world import PASSWORD, World


class Run:
    def __init__(self, data_dir: Path) -> None:
        self.env = stores.environ(data_dir) | {"AUTHSERVER_BCRYPT_COST": "4"}

    def __call__(self, *args: str, status: int = 0) -> Result:
        done = CliRunner().invoke(cli, args, env=self.env)
        assert done.exit_code == status, done.output
        return done

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "--json").stdout)


@pytest.fixture
def run(data_dir: Path) -> Run:
    made = Run(data_dir)
    made("robot", "add", "ci", "--owner", "admin", "--description", "builds")
    return made


def create(run: Run, *args: str, name: str = "main") -> Any:
    return run.json("token", "create", "ci", "--name", name, *args)


def test_a_robot_is_shown_with_its_owner_and_its_tokens(run: Run) -> None:
    create(run)
    shown = run.json("robot", "show", "ci")
    assert (shown["owner"], shown["description"], shown["disabled"]) == ("admin", "builds", False)
    assert [token["name"] for token in shown["tokens"]] == ["main"]
    assert "owner" in run("robot", "show", "ci").stdout
    assert [robot["name"] for robot in run.json("robot", "list")] == ["ci"]
    assert [user["name"] for user in run.json("user", "list")] == ["admin"]


def test_a_robot_is_disabled_enabled_edited_and_removed(run: Run) -> None:
    run("robot", "disable", "ci")
    assert run.json("robot", "show", "ci")["disabled"] is True
    run("robot", "enable", "ci")
    run("robot", "edit", "ci", "--description", "deploys", "--outlives-owner")
    shown = run.json("robot", "show", "ci")
    assert (shown["description"], shown["outlives_owner"]) == ("deploys", True)
    run("robot", "remove", "ci", "--yes")
    assert run.json("robot", "list") == []


def test_a_robot_of_a_disabled_owner_says_so(run: Run) -> None:
    run("user", "disable", "admin", "--force")
    assert "disabled with its owner" in run("robot", "list").stdout


@pytest.mark.parametrize(
    "args",
    [
        ("robot", "add", "admin"),
        ("robot", "add", "CI"),
        ("robot", "add", "x", "--owner", "nobody"),
        ("robot", "add", "x", "--description", "two\nlines"),
        ("robot", "edit", "ci", "--owner", ""),
        ("robot", "edit", "ci", "--description", "\t"),
        ("robot", "add", "x", "--owner", "ci"),
        ("robot", "show", "admin"),
        ("user", "remove", "admin", "--yes"),
        ("token", "create", "nobody", "--name", "x"),
        ("token", "create", "ci", "--name", "x", "--scope", "repository:Team:pull"),
        ("token", "create", "ci", "--name", "x", "--from", "0.0.0.0/0"),
        ("token", "revoke", "9"),
        ("token", "rotate", "9"),
        ("session", "revoke", "9"),
        ("session", "list", "nobody"),
        ("user", "invite", "admin"),
        ("user", "invite", "ci"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, args: tuple[str, ...]) -> None:
    run(*args, status=1)


@pytest.mark.parametrize(
    "args",
    [
        ("token", "create", "ci"),
        ("token", "create", "ci", "--name", "x", "--expires", "soon"),
        ("token", "create", "ci", "--name", "x", "--expires", "0d"),
        ("token", "create", "ci", "--name", "x", "--expires", "99999d"),
        ("token", "create", "ci", "--name", "x", "--format", "docker-config"),
        ("token", "list", "--expiring", "never"),
        ("session", "revoke"),
        ("session", "revoke", "1", "--account", "admin"),
    ],
)
def test_wrong_usage(run: Run, args: tuple[str, ...]) -> None:
    run(*args, status=2)


def test_a_secret_is_printed_once_and_alone(run: Run) -> None:
    done = run("token", "create", "ci", "--name", "main")
    secret = done.stdout.strip()
    assert secret.startswith("authserver_app_")
    assert secret not in done.stderr
    for later in (("token", "list"), ("token", "list", "--json"), ("audit", "list", "--json")):
        assert secret not in run(*later).output


def test_a_token_expires_in_90_days_unless_it_is_said_otherwise(run: Run) -> None:
    usual, never = create(run), create(run, "--expires", "never", name="never")
    assert usual["expires_at"][:10] > usual["created_at"][:10]
    assert never["expires_at"] is None


def test_the_ceiling_is_stored_as_it_will_be_used(run: Run) -> None:
    made = create(run, "--scope", "repository:team/**:push", "--from", "10.0.0.0/8")
    assert made["scopes"] == ["repository:team/**:pull,push"]
    assert made["networks"] == ["10.0.0.0/8"]


@pytest.mark.parametrize(
    ("scope", "added"),
    [
        ("repository:team/**:push", True),
        ("repository:team/**:push,delete", True),
        ("repository:team/**:pull,push", False),
        ("repository:team/**:pull", False),
        ("repository:team/**:*", False),
        ("repository:team/**:all", False),
        ("registry:catalog:*", False),
    ],
)
def test_it_is_said_where_pull_was_added(run: Run, scope: str, added: bool) -> None:
    done = run("token", "create", "ci", "--name", "x", "--scope", scope)
    assert ("pull was added, repository:team/**:pull,push" in done.stderr) == added


def test_an_edit_of_nothing_is_wrong_usage(run: Run) -> None:
    assert "--outlives-owner" in run("robot", "edit", "ci", status=2).stderr


def test_a_token_administers_only_if_it_is_said(run: Run) -> None:
    assert create(run)["scopes"] is None
    assert create(run, "--admin", name="a")["scopes"] == ["admin"]
    both = create(run, "--admin", "--scope", "repository:a:pull", name="b")
    assert both["scopes"] == ["repository:a:pull", "admin"]
    assert (
        "may administer in the name of ci"
        in run("token", "create", "ci", "--name", "c", "--admin").stderr
    )
    assert create(run, "--auditor", name="d")["scopes"] == ["auditor"]
    run("token", "create", "ci", "--name", "e", "--admin", "--auditor", status=2)
    own = run("token", "create", "ci", "--name", "f", "--self")
    assert "in the name of" not in own.stderr
    assert create(run, "--self", "--auditor", name="g")["scopes"] == ["auditor", "self"]
    run("token", "create", "ci", "--name", "h", "--admin", "--self", status=2)


def test_a_name_is_taken_once_an_account(run: Run) -> None:
    create(run)
    run("token", "create", "ci", "--name", "main", status=1)
    run("token", "create", "admin", "--name", "main")


def test_those_that_expire_soon_are_listed(run: Run) -> None:
    create(run, "--expires", "10d", name="soon")
    create(run, "--expires", "15d", name="later")
    create(run, "--expires", "never", name="never")
    assert [t["name"] for t in run.json("token", "list", "--expiring", "14d")] == ["soon"]
    assert len(run.json("token", "list", "ci")) == 3
    assert run.json("token", "list", "admin") == []


def test_rotation_prints_a_new_secret_and_until_when_the_old_is_good(run: Run) -> None:
    made = create(run)
    done = run("token", "rotate", str(made["id"]), "--grace", "1h")
    assert done.stdout.strip() not in ("", made["token"])
    assert "old secret is good until" in done.stderr
    run("token", "revoke", str(made["id"]))
    assert run.json("token", "list") == []


def test_a_docker_config_is_what_docker_reads(run: Run) -> None:
    done = run(
        "token", "create", "ci", "--name", "d", "--format", "docker-config",
        "--registry-host", "registry.example.com",
    )  # fmt: skip
    auth = json.loads(done.stdout)["auths"]["registry.example.com"]["auth"]
    name, _, secret = base64.b64decode(auth).decode().partition(":")
    assert name == "ci"
    assert secret.startswith("authserver_app_")


def test_a_kubernetes_secret_holds_a_docker_config(run: Run) -> None:
    done = run(
        "token", "create", "ci", "--name", "Pull_It", "--format", "kubernetes",
        "--registry-host", "r.example.com",
    )  # fmt: skip
    manifest = yaml.safe_load(done.stdout)
    assert manifest["type"] == "kubernetes.io/dockerconfigjson"
    assert manifest["metadata"]["name"] == "ci-pull-it"
    assert "r.example.com" in json.loads(manifest["stringData"][".dockerconfigjson"])["auths"]


def test_sessions_are_listed_and_ended(run: Run, settings: Settings) -> None:
    world = World.over(settings)
    world.log_in("admin")
    world.log_in("admin")
    world.close()
    first, second = run.json("session", "list", "admin")
    assert first["registry"] == "registry"
    assert "admin" in run("session", "list").stdout
    run("session", "revoke", str(first["id"]))
    assert [s["id"] for s in run.json("session", "list")] == [second["id"]]
    run("session", "revoke", "--account", "admin", "--yes")
    assert run.json("session", "list") == []


def test_a_changed_password_and_a_disabled_account_end_sessions(
    run: Run, settings: Settings
) -> None:
    world = World.over(settings)
    world.log_in("admin")
    run("user", "disable", "admin", "--force")
    run("user", "enable", "admin")
    with world.wiring.store.read() as session:
        assert refresh_tokens.listed(session) == []
    world.close()


def test_a_registry_without_refresh_tokens(run: Run) -> None:
    run("registry", "add", "plain", "--no-refresh-tokens")
    assert run.json("registry", "show", "plain")["refresh_tokens"] is False
    run("registry", "edit", "plain", "--refresh-tokens", "--token-ttl", "600")
    shown = run.json("registry", "show", "plain")
    assert (shown["refresh_tokens"], shown["token_ttl"]) == (True, 600)
    run("registry", "edit", "plain", "--token-ttl", "5", status=1)


def test_a_registry_that_challenges(run: Run) -> None:
    run("registry", "add", "ui", "--challenge-anonymous")
    assert run.json("registry", "show", "ui")["challenge_anonymous"] is True
    run("registry", "edit", "ui", "--token-ttl", "600")
    assert run.json("registry", "show", "ui")["challenge_anonymous"] is True
    run("registry", "edit", "ui", "--no-challenge-anonymous")
    assert "challenge anonymous" in run("registry", "show", "ui").stdout
    assert run.json("registry", "show", "ui")["challenge_anonymous"] is False
    assert run.json("registry", "show", "registry")["challenge_anonymous"] is False
    changes = run.json("audit", "list", "--kind", "change", "--limit", "1")
    assert changes[0]["before"]["challenge_anonymous"] is True
    assert changes[0]["after"]["challenge_anonymous"] is False


def test_an_invitation_is_a_link_whose_code_is_behind_the_hash(run: Run) -> None:
    run.env["AUTHSERVER_PUBLIC_URL"] = "https://auth.example.com"
    link = run("user", "invite", "dora").stdout.strip()
    assert link.startswith("https://auth.example.com/invitation#authserver_invite_")
    made = run.json("user", "invite", "dora")
    assert made["link"].endswith(f"#{made['code']}")
    assert made["link"] != link
    assert PASSWORD not in link
    assert {u["name"]: u["password"] for u in run.json("user", "list")}["dora"] is False


@pytest.mark.parametrize("now", [False, True])
def test_a_user_with_a_password_is_reset_by_a_link(run: Run, now: bool) -> None:
    assert "authserver user invite admin --reset" in run("user", "invite", "admin", status=1).stderr
    run("session", "list")
    made = run.json("user", "invite", "admin", "--reset", *(["--now", "--force"] if now else []))
    assert made["link"].endswith(f"#{made['code']}")
    (admin,) = [user for user in run.json("user", "list") if user["name"] == "admin"]
    assert admin["password"] is not now
    assert admin["invited_until"]
    state = "invited until" if now else "enabled, reset until"
    assert state in run("user", "list").stdout
    assert state in run("user", "show", "admin").stdout
    # There may be no password left to reset: a link that was lost is made again by the same words.
    assert run.json("user", "invite", "admin", "--reset")["code"] != made["code"]


def test_who_is_not_there_is_not_reset(run: Run) -> None:
    before = run.json("user", "list")
    for name in ("nobody", "ci"):
        run("user", "invite", name, "--reset", status=1)
    run("user", "invite", "admin", "--now", status=2)
    run("user", "disable", "admin", "--force")
    assert "user enable admin" in run("user", "invite", "admin", "--reset", status=1).stderr
    assert [user["name"] for user in run.json("user", "list")] == [u["name"] for u in before]


def test_what_cannot_be_printed_is_not_made(run: Run) -> None:
    run("robot", "add", "ü")
    args = ("--name", "ü", "--format", "kubernetes", "--registry-host", "h")
    run("token", "create", "ü", *args, status=1)
    assert run.json("token", "list", "ü") == []


def test_an_old_secret_can_be_ended_at_once(run: Run) -> None:
    made = create(run)
    rotated = run.json("token", "rotate", str(made["id"]), "--grace", "0m")
    assert rotated["previous_until"] <= rotated["created_at"]
    run("token", "create", "ci", "--name", "x", "--expires", "0m", status=2)


def test_a_network_of_mapped_addresses_is_refused(run: Run) -> None:
    run("token", "create", "ci", "--name", "x", "--from", "::ffff:127.0.0.0/104", status=1)

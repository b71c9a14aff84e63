"""authserver audit: every change is recorded with who made it."""

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from authserver.cli.audit import records
from authserver.keys.master_key import read_master_key
from tests import stores
from tests.cli.commands import Commands
from tests.e2e.certificates import Authority
from tests.programs import Authserver, free_port
from tests.syslog_daemon import ENDED, listening
from tests.world import ADMIN, PASSWORD, World, take_schema_back

SELF = f"cli:{pwd.getpwuid(os.geteuid()).pw_name}"

# A change, what it is called, what it is about, and some of what it says of before and after.
CHANGES: list[tuple[list[str], str, str, Any, Any]] = [
    (["registry", "add", "hub", "--token-ttl", "60"], "registry.add", "registry:hub", None, 60),
    (["registry", "remove", "spare", "--yes"], "registry.remove", "registry:spare", None, None),
    (["user", "add", "bob", "--password-stdin"], "user.add", "user:bob", None, False),
    (["user", "add", "bob", "--password-stdin", "--admin"], "user.add", "user:bob", None, True),
    (["user", "passwd", "alice", "--password-stdin"], "user.passwd", "user:alice", None, None),
    (["user", "disable", "alice"], "user.disable", "user:alice", None, None),
    (["user", "rename", "alice", "al"], "user.rename", "user:alice", "alice", "al"),
    (["group", "rename", "dev", "ops"], "group.rename", "group:dev", "dev", "ops"),
    (["user", "remove", "alice", "--yes"], "user.remove", "user:alice", "alice", None),
    (["group", "add", "ops"], "group.add", "group:ops", None, None),
    (["group", "remove", "dev", "--yes"], "group.remove", "group:dev", "user:alice", None),
    (["group", "add-member", "dev", ADMIN], "group.add-member", "group:dev", None, f"user:{ADMIN}"),
    (
        ["group", "remove-member", "dev", "alice"],
        "group.remove-member",
        "group:dev",
        "user:alice",
        None,
    ),
    (["acl", "allow", "everyone", "a", "pull"], "acl.allow", "rule:4", None, "everyone"),
    (["acl", "deny", "user:alice", "a", "pull"], "acl.deny", "rule:4", None, "user:alice"),
    (["acl", "remove", "3"], "acl.remove", "rule:3", "team/*", None),
]


@pytest.fixture
def populated(run: Commands) -> Commands:
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    run("group", "add", "dev")
    run("group", "add-member", "dev", "alice")
    run("registry", "add", "spare")
    run("acl", "allow", "group:dev", "team/*", "pull")
    return run


@pytest.mark.parametrize(("args", "action", "target", "before", "after"), CHANGES)
def test_a_change_is_recorded_with_who_made_it_and_what_it_was(
    populated: Commands, args: list[str], action: str, target: str, before: Any, after: Any
) -> None:
    if args[:2] == ["group", "remove"]:
        populated("acl", "remove", "3")
    populated(*args, stdin="open sesame")
    record = populated.last_change()
    assert (record["actor"], record["action"], record["target"]) == (SELF, action, target)
    for said, state in ((before, record["before"]), (after, record["after"])):
        assert said is None or repr(said) in repr(state)
    assert "sesame" not in populated.out
    assert "$2b$" not in populated.out


@pytest.mark.parametrize(
    "args",
    [
        ["registry", "add", "spare"],
        ["user", "add", "alice", "--password-stdin"],
        ["user", "enable", "alice"],
        ["group", "add-member", "dev", "alice"],
        ["acl", "allow", "group:dev", "team/*", "pull"],
        ["acl", "remove", "99"],
        ["user", "list"],
        ["acl", "explain", "alice", "repository:a:pull"],
        ["registry", "config", "spare"],
    ],
)
def test_what_changes_nothing_is_not_recorded(populated: Commands, args: list[str]) -> None:
    before = populated.json("audit", "list", "--limit", 100_000)
    populated.result(*args, stdin="open sesame")
    assert populated.json("audit", "list", "--limit", 100_000) == before


def test_the_actor_is_who_the_system_says_and_not_who_the_environment_says(
    run: Commands,
) -> None:
    claims = {"USER": "mallory", "LOGNAME": "mallory", "SUDO_USER": "mallory"}
    run.env |= claims
    run("group", "add", "dev")
    assert run.last_change()["actor"] == SELF


def test_records_are_listed_oldest_first_and_the_latest_are_kept(populated: Commands) -> None:
    records = populated.json("audit", "list", "--kind", "change")
    assert records[-1]["action"] == "acl.allow"
    assert [r["at"] for r in records] == sorted(r["at"] for r in records)
    assert populated.json("audit", "list", "--limit", 2) == records[-2:]
    head, *lines = populated("audit", "list", "--limit", 2).splitlines()
    assert head.split() == ["AT", "WHO", "WHAT", "ON"]
    assert [line.split()[3:] for line in lines] == [
        ["registry.add", "registry:spare"],
        ["acl.allow", "rule:3"],
    ]


def test_records_are_found_by_account_and_by_kind(populated: Commands, world: World) -> None:
    world.get("service=registry&scope=repository:x:pull", auth=("alice", PASSWORD))
    world.wiring.issuer.journal.write(world.wiring.store)
    found = populated.json("audit", "list", "--account", "alice")
    assert [(r["kind"], r.get("action") or r["outcome"]) for r in found] == [
        ("change", "user.add"),
        ("token", "denied"),
    ]
    (token,) = populated.json("audit", "list", "--kind", "token")
    assert token == found[-1]
    line = populated("audit", "list", "--kind", "token").splitlines()[1]
    for word in ("alice", "token denied", "registry", "127.0.0.1", "no rule allows pull"):
        assert word in line


def test_no_records_is_an_empty_list(run: Commands) -> None:
    assert run.json("audit", "list", "--account", "nobody") == []
    assert run("audit", "list", "--account", "nobody") == ""


@pytest.mark.parametrize("limit", ["0", "-1", "100001", "x"])
def test_a_limit_out_of_range_is_wrong_usage(run: Commands, limit: str) -> None:
    run("audit", "list", "--limit", limit, status=2)


# Filters.


@pytest.fixture
def asked(populated: Commands, world: World) -> Commands:
    """alice may pull team/*; a stranger asks too, and somebody with a wrong password."""
    here = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    world.get("service=registry&scope=repository:team/a:pull", auth=("alice", PASSWORD), **here)
    world.get("service=registry&scope=repository:team/ab:pull")
    world.get("service=registry", auth=("alice", "wrong"), **here)
    world.wiring.issuer.journal.write(world.wiring.store)
    return populated


@pytest.mark.parametrize(
    ("flags", "outcomes"),
    [
        (["--kind", "token"], ["granted", "denied", "refused"]),
        (["--outcome", "refused"], ["refused"]),
        (["--repository", "team/a"], ["granted"]),
        (["--repository", "team/%"], []),
        (["--registry", "registry"], ["granted", "denied", "refused"]),
        (["--registry", "spare"], []),
        (["--address", "192.0.2.7"], ["granted", "refused"]),
        (["--address", "192.0.2.7", "--outcome", "granted"], ["granted"]),
        (["--kind", "token", "--since", "1h"], ["granted", "denied", "refused"]),
        (["--kind", "token", "--until", "1h"], []),
        (["--kind", "change", "--outcome", "refused"], []),
        (["--action", "user.add", "--account", "alice"], ["user.add"]),
        (["--action", "user.add", "--kind", "token"], []),
        (["--action", "nothing"], []),
    ],
)
def test_records_are_found_by_what_they_say(
    asked: Commands, flags: list[str], outcomes: list[str]
) -> None:
    found = asked.json("audit", "list", *flags)
    assert [record.get("outcome") or record["action"] for record in found] == outcomes
    lines = [json.loads(line) for line in asked("audit", "tail", "--json", *flags).splitlines()]
    assert lines == found
    exported = asked("audit", "export", *flags).splitlines()
    assert [json.loads(line).get("jti") for line in exported] == [r.get("jti") for r in found]


def test_a_record_of_many_requests_says_how_many(asked: Commands, world: World) -> None:
    for _ in range(100):
        world.get("service=registry&scope=repository:team/ab:pull")
    world.wiring.issuer.journal.finish()
    world.wiring.issuer.journal.write(world.wiring.store)
    last = asked.json("audit", "list", "--outcome", "denied")[-1]
    assert last["requests"] > 1
    assert f"token denied, {last['requests']} times" in asked("audit", "list")
    (exported,) = asked("audit", "export", "--outcome", "denied").splitlines()[-1:]
    assert json.loads(exported)["requests"] == last["requests"]
    assert asked.json("audit", "verify")["ok"]


@pytest.mark.parametrize("time", ["yesterday", "2026-11-24T12:00", "5"])
def test_a_time_that_is_none_is_wrong_usage(run: Commands, time: str) -> None:
    run("audit", "list", "--since", time, status=2)
    assert "ago" in run.err or "zone" in run.err


def test_tail_shows_a_line_each(asked: Commands) -> None:
    lines = asked("audit", "tail", "-n", 2).splitlines()
    assert ["token denied" in line or "token refused" in line for line in lines] == [True, True]
    assert asked("audit", "tail", "-n", 0) == ""


def test_tail_goes_on_with_what_comes(
    populated: Commands, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [
        lambda: world.user("bob"),
        lambda: None,
        lambda: world.group("ops", "bob"),
    ]

    def sleep(_: float) -> None:
        if not looks:
            raise KeyboardInterrupt
        looks.pop(0)()

    monkeypatch.setattr(records, "sleep", sleep)
    lines = populated("audit", "tail", "-f", "-n", 1, "--action", "user.add").splitlines()
    assert [line.split()[-1] for line in lines] == ["user:alice", "user:bob"]


# Verifying.


def altered(run: Commands, statement: str) -> None:
    engine = create_engine(stores.settings(run.data_dir).store_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def test_what_commands_and_servers_wrote_verifies(asked: Commands, world: World) -> None:
    world.wiring.maintenance.stop()
    assert "all as written" in asked("audit", "verify")
    told = asked.json("audit", "verify")
    assert (told["ok"], told["faults"], told["open"]) == (True, [], 0)
    assert told["verified"]["token"] == 3


def test_a_command_seals_what_it_did(run: Commands) -> None:
    before = run.json("audit", "verify")
    run("group", "add", "dev")
    after = run.json("audit", "verify")
    assert (after["checkpoint"], after["open"]) == (before["checkpoint"] + 1, 0)


def test_what_was_altered_is_named_and_the_exit_status_says_so(asked: Commands) -> None:
    altered(asked, "UPDATE audit_record SET actor = 'somebody else' WHERE id = 3")
    altered(asked, "DELETE FROM token_record WHERE id = 2")
    lines = asked("audit", "verify", status=1).splitlines()
    assert lines[0] == "chain changes: record 3 (row 3) is altered"
    assert lines[1].endswith(": record 2 is missing")
    told = asked.json("audit", "verify", status=1)
    assert not told["ok"]
    first = told["faults"][0]
    assert (first["chain"], first["first"], first["what"]) == ("changes", 3, "altered")
    asked("group", "add", "late")
    assert asked("audit", "verify", status=1).splitlines()[:2] == lines[:2]


@pytest.mark.sqlite
def test_a_row_that_holds_no_record_is_named_by_each_command(asked: Commands) -> None:
    altered(asked, "UPDATE token_record SET account = x'ff' WHERE id = 2")
    lines = asked("audit", "verify", status=1).splitlines()
    assert lines[0] == "the records (row 2): the token record is unreadable"
    for command in (["list"], ["tail"], ["list", "--json"], ["export"]):
        asked("audit", *command, status=1)
        assert "row 2 of token_record" in asked.err
        assert "`authserver audit verify`" in asked.err
    asked("db", "check")
    altered(asked, "UPDATE audit_mark SET sealed_seq = 'x' WHERE chain_id = 2")
    told = asked("db", "check", status=1)
    assert "audit chains: row 2 of audit_mark cannot be read: run `authserver audit" in told
    assert "the records: row 2 of audit_mark cannot be read" in asked("audit", "verify", status=1)


def test_a_change_warns_where_the_seals_were_altered(run: Commands) -> None:
    altered(run, "UPDATE audit_state SET number = 99")
    run("group", "add", "dev")
    assert "audit verify" in run.err
    assert "checkpoint 99 was altered" in run("audit", "verify", status=1)


def test_what_the_second_copy_has_and_the_store_lacks_is_named(
    run: Commands, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    run.env["AUTHSERVER_AUDIT_LOG"] = str(log)
    run("group", "add", "dev")
    run("group", "add", "ops")
    assert log.stat().st_mode & 0o777 == 0o600
    assert "compared with 4 lines" in run("audit", "verify", "--against", log)
    cut = "(SELECT seq, mac, id FROM audit_record WHERE target = 'group:dev')"
    altered(run, f"UPDATE audit_chain SET (seq, mac, record_id) = {cut} WHERE id = 1")
    altered(run, "DELETE FROM audit_record WHERE target = 'group:ops'")
    log.write_text("".join(log.read_text().splitlines(keepends=True)[1:]))
    lines = run("audit", "verify", "--against", log, status=1).splitlines()
    assert lines[0] == "chain changes: record 10 is missing"


def test_an_export_is_a_second_copy(asked: Commands, tmp_path: Path) -> None:
    lines = asked("audit", "export")
    copy = tmp_path / "records.jsonl"
    copy.write_text(lines)
    told = asked.json("audit", "verify", "--against", str(copy))
    assert (told["ok"], told["logged"]) == (True, len(lines.splitlines()))


def test_syslog_over_tls_is_a_second_copy(run: Commands, tmp_path: Path) -> None:
    authority, log = Authority.make(tmp_path / "authority"), tmp_path / "received"
    with listening(authority, tmp_path) as daemon:
        run.env["AUTHSERVER_AUDIT_LOG"] = f"syslog+tls://localhost:{daemon.port}"
        run.env["AUTHSERVER_AUDIT_LOG_CA_FILE"] = str(authority.file)
        run("group", "add", "dev")
        received = list(iter(lambda: daemon.got.get(timeout=20), ENDED))
    del run.env["AUTHSERVER_AUDIT_LOG"], run.env["AUTHSERVER_AUDIT_LOG_CA_FILE"]
    # After a broken connection some come twice.
    log.write_text("".join(f"{line}\n" for line in received * 2))
    assert run.json("audit", "verify", "--against", str(log))["logged"] == 2 * len(received)
    altered(run, "DELETE FROM audit_record WHERE target = 'group:dev'")
    assert "is missing" in run("audit", "verify", "--against", log, status=1)


def test_a_copy_that_cannot_be_written_is_a_warning(run: Commands, tmp_path: Path) -> None:
    run.env["AUTHSERVER_AUDIT_LOG"] = str(tmp_path / "nowhere" / "audit.jsonl")
    run("group", "add", "dev")
    assert "the audit log lacks this change: No such file" in run.err
    assert run.last_change()["target"] == "group:dev"


def test_without_the_master_key_nothing_is_changed_and_nothing_verified(run: Commands) -> None:
    (run.data_dir / "master.key").rename(run.data_dir / "elsewhere")
    run("group", "add", "dev", status=1)
    assert "master key" in run.err
    assert run.json("group", "list") == []
    run("audit", "verify", status=1)


def test_an_upgrade_begins_the_chains(asked: Commands) -> None:
    asked("db", "upgrade")
    take_schema_back(stores.settings(asked.data_dir), "0005")
    asked("db", "upgrade")
    told = asked.json("audit", "verify")
    assert told["ok"]
    assert told["unchained"]["token"] == 3
    assert told["verified"] == {"change": 1, "token": 0}
    assert "in no chain" in asked("audit", "verify")
    assert asked.last_change()["action"] == "audit.begin"


# A wiped trail.

TABLES = ("audit_mark", "audit_chain", "audit_state", "audit_record", "token_record")


def wipe(run: Commands, *more: str) -> None:
    for table in TABLES:
        altered(run, f"DELETE FROM {table}")
    for statement in more:
        altered(run, statement)


def take_back(run: Commands) -> None:
    """Have the store look as if it were from before there were chains, without the master key."""
    settings = stores.settings(run.data_dir)
    take_schema_back(settings, "0005")
    named = read_master_key(settings.master_key_path).id
    altered(run, f"UPDATE store_state SET master_key_id = '{named}'")


WIPES: dict[str, Callable[[Commands], None]] = {
    "the five tables": wipe,
    "the schema too": take_back,
    "what says that it was set up": lambda run: wipe(
        run,
        *(f"DELETE FROM {table}" for table in ("store_state", "rule_subject", "rule", "registry")),
    ),
}


@pytest.mark.parametrize("wiped", WIPES.values(), ids=WIPES.keys())
def test_a_wiped_trail_is_an_alarm_that_stays(
    asked: Commands, wiped: Callable[[Commands], None]
) -> None:
    wiped(asked)
    for _ in range(2):
        asked.result("init", "--admin", "mallory")
        asked.result("db", "upgrade")
        asked("audit", "verify", status=1)
        asked("db", "check", status=1)
        asked("group", "add", "ops", status=1)
    started = ("serve", "--init", "--upgrade", "--port", str(free_port()))
    assert Authserver(asked.data_dir).run(*started, check=False).returncode == 1
    asked("audit", "verify", status=1)


def test_wiped_chains_are_begun_anew_by_a_restart_and_that_is_listed_for_good(
    asked: Commands,
) -> None:
    wipe(asked)
    asked("audit", "verify", status=1)
    assert "authserver audit restart" in asked.err
    asked("audit", "restart", "--reason", "Mallory was here", status=2)
    asked("audit", "restart", "--reason", "Mallory was here", "--yes")
    asked("group", "add", "ops")
    lines = asked("audit", "verify").splitlines()
    assert "(Mallory was here): the audit chains are gone" in lines[0]
    assert ": all as written" in lines[1]
    wipe(asked)
    asked("audit", "verify", status=1)


# Restarting.


@pytest.fixture
def spoilt(asked: Commands) -> Commands:
    altered(asked, "UPDATE audit_record SET actor = 'somebody else' WHERE id = 3")
    altered(asked, "DELETE FROM token_record WHERE id = 2")
    return asked


def test_a_restart_ends_the_alarm_and_closed_faults_are_listed(spoilt: Commands) -> None:
    faults = spoilt("audit", "verify", status=1).splitlines()[:2]
    assert "authserver audit restart" in spoilt.err
    assert spoilt("audit", "restart", "--yes", "--reason", "a disk").splitlines() == faults
    assert "Began new chains." in spoilt.err
    lines = spoilt("audit", "verify").splitlines()
    assert lines[0].startswith(f"closed by {SELF} at 2")
    assert lines[0].endswith(" (a disk): altered: 1, missing: 1")
    assert lines[1:3] == [f"closed: {fault}" for fault in faults]
    assert lines[3] == "1 changes, 0 token requests in 1 chains: all as written"
    assert lines[4].endswith("in closed chains: 2 faults, without alarm")
    told = spoilt.json("audit", "verify")
    assert (told["ok"], told["faults"]) == (True, [])
    assert [fault["text"] for fault in told["closed_faults"]] == faults
    (one,) = told["restarts"]
    assert (one["actor"], one["reason"]) == (SELF, "a disk")
    assert one["faults"] == {"altered": 1, "missing": 1}
    record = spoilt.last_change()
    assert (record["actor"], record["action"]) == (SELF, "audit.restart")
    assert record["after"]["reason"] == "a disk"
    assert record["after"]["faults"] == {"altered": 1, "missing": 1}


def test_what_is_altered_after_a_restart_is_an_alarm(spoilt: Commands) -> None:
    spoilt("audit", "restart", "--yes", "--reason", "a disk")
    spoilt("group", "add", "ops")
    altered(spoilt, "UPDATE audit_record SET actor = 'another' WHERE target = 'group:ops'")
    lines = spoilt("audit", "verify", status=1).splitlines()
    assert lines[0].endswith("is altered")
    assert lines[0].startswith("chain changes-")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--reason", "a disk"], "--yes"),
        (["--yes"], "--reason"),
        ([], "--reason"),
    ],
)
def test_no_chain_is_closed_that_nobody_confirms(
    spoilt: Commands, flags: list[str], said: str
) -> None:
    spoilt("audit", "restart", *flags, status=2)
    assert said in spoilt.err
    spoilt("audit", "verify", status=1)


@pytest.mark.parametrize("reason", ["", " ", "x" * 1001])
def test_a_reason_says_something(spoilt: Commands, reason: str) -> None:
    spoilt("audit", "restart", "--yes", "--reason", reason, status=1)
    assert "say why" in spoilt.err


def test_without_the_master_key_no_chain_is_closed(spoilt: Commands) -> None:
    (spoilt.data_dir / "master.key").rename(spoilt.data_dir / "elsewhere")
    spoilt("audit", "restart", "--yes", "--reason", "a disk", status=1)
    assert "master key" in spoilt.err


def test_where_nothing_is_wrong_the_chains_go_on(asked: Commands) -> None:
    before = asked.last_change()
    assert asked("audit", "restart", "--yes", "--reason", "a disk") == ""
    assert "Nothing is wrong" in asked.err
    assert asked.json("audit", "restart", "--reason", "a disk") == {
        "restarted": False,
        "reason": "a disk",
        "faults": {},
    }
    assert asked.last_change() == before


def test_a_restart_as_json(spoilt: Commands) -> None:
    assert spoilt.json("audit", "restart", "--yes", "--reason", "a disk") == {
        "restarted": True,
        "reason": "a disk",
        "faults": {"altered": 1, "missing": 1},
    }
    assert spoilt.json("audit", "verify")["ok"]


def test_a_restart_ends_the_alarm_of_altered_seals(run: Commands) -> None:
    altered(run, "UPDATE audit_state SET number = 99")
    run("db", "check", status=1)
    run("audit", "restart", "--yes", "--reason", "a disk")
    assert "were altered" not in run.err
    run("db", "check")
    run("group", "add", "dev")
    assert "were altered" not in run.err
    assert "checkpoint 99 was altered" in run("audit", "verify")


def test_closed_chains_are_in_a_backup(spoilt: Commands, tmp_path: Path) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse battery\n")
    secret.chmod(0o600)
    spoilt("audit", "restart", "--yes", "--reason", "a disk")
    spoilt("backup", tmp_path / "b.age", "--passphrase-file", secret)
    other = Commands(tmp_path / "other")
    other.env["AUTHSERVER_MASTER_KEY_FILE"] = str(spoilt.data_dir / "master.key")
    other("restore", tmp_path / "b.age", "--passphrase-file", secret)
    assert "in closed chains: 2 faults" in other("audit", "verify")


@pytest.mark.parametrize("flags", [[], ["--reason", "a disk", "--yes"]])
def test_the_former_command_names_the_one_that_replaces_it(run: Commands, flags: list[str]) -> None:
    run("audit", "accept", *flags, status=2)
    assert "`authserver audit restart --reason TEXT` replaces `audit accept`." in run.err

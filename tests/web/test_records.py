"""Every token request leaves one record, and nothing secret in it or in the log."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from authserver.audit import journal, records, tallies
from authserver.audit.records import Filter
from authserver.core import secret_tokens
from authserver.core.errors import NotReady
from authserver.core.secret_tokens import Prefix
from authserver.db import accounts
from tests.stores import dumped
from tests.web.faults import unwritable
from tests.web.lasting import lasting
from tests.world import ADMIN, PASSWORD, SERVICE, World, basic

MOST_RECORDS = tallies.STORED + tallies.COUNTS + 3
"""Of what strangers ask in vain, in a minute and one worker."""

SESAME = "open sesame"
BOB = ("bob", SESAME)


@pytest.fixture(scope="module")
def populated(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """bob may push to team/* but for team/secret; gone is disabled, fresh has no password yet."""
    with lasting(template, tmp_path_factory) as world:
        world.user("bob", SESAME)
        world.user("gone")
        world.disable("gone")
        with world.wiring.store.change("test") as change:
            accounts.add_user(change, "fresh", None)
        world.allow("user:bob", "team/*", "pull,push")
        world.deny("everyone", "team/secret", "pull")
        yield world


def record_of(world: World, query: str, **request: Any) -> dict[str, Any]:
    """Send one request and return its record."""
    known = len(tokens(world))
    world.get(query, **request)
    record, *more = tokens(world)[known:]
    assert more == []
    return record


def tokens(world: World) -> list[dict[str, Any]]:
    world.wiring.issuer.journal.write(world.wiring.store)
    with world.wiring.store.read() as session:
        return records.listed(session, Filter("token"))


def everything(world: World) -> str:
    """Return all that the store holds, as text."""
    tokens(world)
    return dumped(world.wiring.store)


def scopes(*values: str) -> str:
    return urlencode([("service", SERVICE), *(("scope", value) for value in values)])


def test_a_record_says_who_asked_for_what_from_where_and_what_came_of_it(populated: World) -> None:
    asked = ("repository:team/app:pull,push,delete", "repository:other/app:pull", "junk")
    request = {"headers": {"User-Agent": "docker/29"}, "environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    response = populated.get(scopes(*asked), auth=BOB, **request)
    record = tokens(populated)[-1]
    assert record["at"]
    assert record["request_id"] == response.headers["X-Request-Id"]
    assert record["jti"] == populated.claims(response)["jti"]
    assert record["account"] == "bob"
    assert record["address"] == "192.0.2.7"
    assert record["client"] == "docker/29"
    assert record["registry"] == SERVICE
    assert record["requested"] == " ".join(asked)
    assert record["granted"] == "repository:team/app:pull,push"
    assert record["outcome"] == "partial"
    for why in ("no rule allows delete", "repository:other/app:pull", "malformed scope 'junk'"):
        assert why in record["reason"]


OUTCOMES = {
    "login": ("", BOB, "granted", "bob", ""),
    "all": ("repository:team/a:push", BOB, "granted", "bob", ""),
    "some": ("repository:team/a:pull,delete", BOB, "partial", "bob", "no rule allows delete"),
    "no rule": ("repository:x:pull", BOB, "denied", "bob", "no rule allows pull"),
    "a deny": ("repository:team/secret:pull", BOB, "denied", "bob", "pull denied by rule"),
    "anonymous": ("repository:x:pull", None, "denied", "", "no rule allows pull"),
    "anonymous login": ("", None, "granted", "", ""),
    "malformed": ("x", BOB, "denied", "bob", "malformed scope 'x'"),
    "type": ("magic:a:pull", BOB, "denied", "bob", "unknown resource type"),
    "action": ("repository:team/a:fly", BOB, "denied", "bob", "unknown action fly"),
    "name": ("repository:team/../a:pull", BOB, "denied", "bob", "no registry accepts this name"),
    "password": ("", ("bob", "wrong"), "refused", "bob", "wrong password"),
    "empty password": ("", ("bob", ""), "refused", "bob", "empty password"),
    "no password yet": ("", ("fresh", "x"), "refused", "fresh", "account without a password"),
    "disabled": ("", ("gone", PASSWORD), "refused", "gone", "disabled account"),
}


@pytest.mark.parametrize(
    ("scope", "auth", "outcome", "account", "reason"), OUTCOMES.values(), ids=OUTCOMES.keys()
)
def test_each_outcome_leaves_one_record_with_its_reason(
    populated: World,
    scope: str,
    auth: tuple[str, str] | None,
    outcome: str,
    account: str,
    reason: str,
) -> None:
    record = record_of(populated, scopes(scope), auth=auth)
    assert (record["outcome"], record["account"]) == (outcome, account)
    assert reason in record["reason"]
    assert bool(record["reason"]) == bool(reason)
    assert bool(record["jti"]) == (outcome != "refused")
    if outcome in ("denied", "refused"):
        assert record["granted"] == ""


@pytest.mark.parametrize(
    ("query", "auth", "reason"),
    [
        ("service=x", BOB, "unknown service"),
        ("service=a&service=b", BOB, "service is repeated"),
        ("account=admin", BOB, "not the authenticated account"),
        ("scope=" + "a+" * 201, BOB, "more than 200 scopes"),
        ("scope=" + "a" * 13_000, BOB, "more than 12288 bytes"),
    ],
)
def test_a_refused_request_leaves_a_record_too(
    populated: World, query: str, auth: tuple[str, str], reason: str
) -> None:
    record = record_of(populated, query, auth=auth)
    assert (record["outcome"], record["jti"], record["granted"]) == ("refused", None, "")
    assert reason in record["reason"]


@pytest.mark.parametrize("header", ["", "Bearer abc", "Basic", "Basic YWRtaW4=", "Basic \xff"])
def test_a_malformed_header_leaves_a_record_that_repeats_nothing_of_it(
    world: World, header: str
) -> None:
    record = record_of(world, "", environ_overrides={"HTTP_AUTHORIZATION": header})
    assert (record["outcome"], record["account"]) == ("refused", "(malformed)")
    assert record["reason"].startswith("malformed credentials")
    assert "YWRtaW4=" not in json.dumps(record)


def test_an_answer_that_cannot_be_given_leaves_a_record(world: World) -> None:
    cache = world.wiring.state
    late = cache.current.read_at + 3600
    cache.monotonic = lambda: late
    record = record_of(world, "", auth=(ADMIN, PASSWORD))
    assert (record["outcome"], record["reason"]) == ("refused", "the store cannot be reached")


def test_names_that_no_account_has_are_hashed(world: World) -> None:
    names = [
        record_of(world, "", auth=(name, "x"))["account"]
        for name in (SESAME, SESAME, "other", "Admin")
    ]
    assert all(name.startswith("unknown-") for name in names)
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert SESAME not in everything(world)


def test_records_of_one_account_are_found_by_its_name(populated: World) -> None:
    populated.get(auth=BOB)
    populated.get(auth=(ADMIN, PASSWORD))
    tokens(populated)
    with populated.wiring.store.read() as session:
        found = records.listed(session, Filter("token", "bob"))
    assert {record["account"] for record in found} == {"bob"}


def test_hostile_text_is_kept_printable_and_short(world: World) -> None:
    hostile = "\x1b[2J\n\u202e" + "x" * 9000
    query = urlencode({"scope": hostile})
    record = record_of(world, query, environ_overrides={"HTTP_USER_AGENT": hostile * 2})
    for name in ("requested", "reason", "client", "registry"):
        assert record[name].isprintable()
        assert len(record[name]) <= 4100
    assert len(record["client"]) <= 250


def test_a_post_with_a_password_leaves_neither_record_nor_log_line(world: World) -> None:
    form = {"grant_type": "password", "username": ADMIN, "password": SESAME}
    with capture_logs() as logged:
        world.client.post("/token", data=form)
    assert (tokens(world), logged) == ([], [])


def test_no_password_gets_into_the_store_or_the_log(populated: World) -> None:
    secrets = {SESAME, PASSWORD, "swordfish", "hunter2", "Tr0ub4dor"}
    with capture_logs() as logged:
        populated.get(scopes("repository:x:pull"), auth=BOB)
        populated.get(auth=(ADMIN, PASSWORD))
        populated.get(auth=("bob", "swordfish"))
        populated.get(auth=("hunter2", "swordfish"))
        populated.get("account=other", auth=BOB)
        populated.get("service=other", auth=BOB)
        populated.get(environ_overrides={"HTTP_AUTHORIZATION": "Bearer Tr0ub4dor"})
        populated.get(environ_overrides={"HTTP_AUTHORIZATION": f"Basic {SESAME}"})
        populated.get(environ_overrides={"HTTP_AUTHORIZATION": f"{basic(*BOB)},{basic(*BOB)}"})
    kept = everything(populated) + repr(logged)
    assert len(logged) == 8
    for secret in (*secrets, *(basic("x", s)[6:] for s in secrets), basic(*BOB)[6:]):
        assert secret not in kept


LINES = {
    "denied": (scopes("repository:x:pull"), BOB, "info", "no rule allows pull"),
    "malformed": (scopes("x"), BOB, "info", "malformed scope"),
    "password": ("", ("bob", "wrong"), "warning", "wrong password"),
    "unknown": ("", (SESAME, "wrong"), "warning", "unknown account"),
    "service": ("service=x", BOB, "warning", "unknown service"),
    "anonymous": (scopes("repository:x:pull"), None, "info", "no rule allows pull"),
}


@pytest.mark.parametrize(("query", "auth", "level", "reason"), LINES.values(), ids=LINES.keys())
def test_one_line_in_the_log_says_why_something_was_denied(
    populated: World, query: str, auth: tuple[str, str] | None, level: str, reason: str
) -> None:
    with capture_logs() as logged:
        populated.get(query, auth=auth)
    (line,) = logged
    assert line["log_level"] == level
    assert reason in line["reason"]
    assert line["account"] in ("bob", "anonymous") or line["account"].startswith("unknown-")
    assert line["address"] == "127.0.0.1"


def test_what_is_granted_in_full_needs_no_line_in_the_log(populated: World) -> None:
    with capture_logs() as logged:
        populated.get(scopes("repository:team/a:pull"), auth=BOB)
    assert logged == []


def test_a_record_is_not_lost_while_the_store_cannot_be_written(world: World) -> None:
    journal = world.wiring.issuer.journal
    world.get()
    with unwritable(world), pytest.raises(NotReady):
        journal.write(world.wiring.store)
    assert len(tokens(world)) == 1


def test_under_load_answers_wait_and_none_is_refused_or_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue of records is far from full when whoever answers begins to wait."""
    monkeypatch.setattr(journal, "MAX_BATCH", 2)
    monkeypatch.setattr(journal, "MANY_PENDING", 4)
    monkeypatch.setattr(journal, "MAX_PENDING", 20)
    world.allow("anonymous", "public/*", "pull")
    world.wiring.maintenance.start()
    pull = scopes("repository:public/app:pull")
    codes = [world.get(pull).status_code for _ in range(200)]
    world.wiring.maintenance.stop()
    assert codes == [200] * 200
    with world.wiring.store.read() as session:
        assert len(records.listed(session, Filter("token"), 1000)) == 200


# What strangers can do as often as they like.


def test_state_that_strangers_make_grow_is_bounded(world: World) -> None:
    """Whatever they ask, by whatever credentials, there is little more of it, and a count."""
    before = len(everything(world))
    with capture_logs() as logged:
        sent = sum(1 for number in range(150) for _ in strange(world, number))
        world.wiring.issuer.journal.finish()
    tokens(world)
    with world.wiring.store.read() as session:
        found = records.listed(session, Filter("token"), limit=sent)
    assert sum(record["requests"] for record in found) == sent
    assert len(found) <= MOST_RECORDS
    assert len(logged) <= MOST_RECORDS
    assert len(everything(world)) - before <= MOST_RECORDS * 2000
    assert len(repr(logged)) <= MOST_RECORDS * 2000
    # Who logs in has his own record as ever.
    world.get("service=registry", auth=(ADMIN, PASSWORD))
    assert tokens(world)[-1]["account"] == ADMIN


def strange(world: World, number: int) -> Iterator[TestResponse]:
    """Ask for what a stranger gets nothing by, one way after the other, each time another thing."""
    named = f"{number}/" + "x" * 240
    here: dict[str, Any] = {"environ_base": {"REMOTE_ADDR": f"198.51.{number % 100}.7"}}
    agent: dict[str, Any] = {"headers": {"User-Agent": f"{number}" * 500}}
    yield world.get(
        scopes(*(f"repository:{n}{named}:pull,push" for n in range(9))), **here, **agent
    )
    yield world.get(scopes(f"junk{number}" * 50), **here)
    yield world.get(f"service={number}", **agent)
    yield world.get("service=registry", **here)
    app_token = secret_tokens.make(Prefix.APP, secrets.token_bytes)
    yield world.get("service=registry", auth=(f"who{number}", app_token))
    yield world.get("service=registry", auth=(ADMIN, app_token), **here)
    header = {"HTTP_AUTHORIZATION": f"Basic {number}"}
    yield world.get("service=registry", environ_overrides=header)
    refresh_token = secret_tokens.make(Prefix.REFRESH, secrets.token_bytes)
    yield world.post(grant_type="refresh_token", refresh_token=refresh_token)
    yield world.client.get("/api/v1/me", headers={"Authorization": f"Basic {number}"})

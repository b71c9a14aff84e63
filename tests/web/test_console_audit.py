"""The console's pages of the audit, and the operations of the API that they ask."""

import csv
import io
import json
import threading
from typing import Any

import pytest
from sqlalchemy import update

from authserver.audit import records, verify
from authserver.audit.chain import RecordKind
from authserver.core.errors import NotFound
from authserver.db import accounts
from authserver.db.models import AuditRecord
from authserver.registry import entries
from authserver.web.api import audit
from tests.web.test_api import call, got
from tests.web.visitor import Visitor, content
from tests.world import SERVICE, World

MARKUP = "<b>'\"&="


@pytest.fixture
def office(world: World) -> Visitor:
    visitor = Visitor(world)
    visitor.log_in()
    return visitor


@pytest.fixture
def used(world: World) -> World:
    """A world in which alice was granted something, and somebody was refused."""
    world.user("alice")
    world.allow("user:alice", "team/**", "pull")
    world.get(f"service={SERVICE}&scope=repository:team/app:pull,push", auth=("alice", "wrong"))
    world.get(
        f"service={SERVICE}&scope=repository:team/app:pull,push",
        auth=("alice", "correct horse"),
        headers={"User-Agent": MARKUP},
    )
    world.wiring.issuer.journal.write(world.wiring.store)
    with world.wiring.store.change("cli:root") as change:
        entries.edit(change, SERVICE, token_ttl=600)
    return world


def alter(world: World) -> None:
    with world.wiring.store.append() as session:
        session.execute(update(AuditRecord).where(AuditRecord.id == 3).values(actor="nobody"))


def found(office: Visitor, **query: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(office.get("audit", format="json", **query).text)
    return rows


# The operations.


def test_each_record_has_an_id_and_is_shown_by_it(used: World) -> None:
    listed = got(used, "/audit?limit=500")["items"]
    assert {record["kind"] for record in listed} == {"change", "token"}
    for record in listed:
        assert got(used, f"/audit/{record['kind']}/{record['id']}")["record"] == record
    for path in ("change/99999", "token/0", "change/x", "user/1", f"token/{'9' * 30}"):
        call(used, "GET", f"/audit/{path}", status=404)
    with used.wiring.store.read() as session, pytest.raises(NotFound, match="not any more"):
        records.one(session, RecordKind.TOKEN, 7777)


def test_verification_finds_what_was_altered(used: World) -> None:
    good = call(used, "POST", "/audit/verify", status=200, json={}).json or {}
    assert (good["ok"], good["complete"], good["faults"]) == (True, True, [])
    assert good["verified"]["token"] >= 2
    alter(used)
    bad = call(used, "POST", "/audit/verify", status=200, json={}).json or {}
    assert (bad["ok"], bad["complete"], bad["faults_found"]) == (False, True, 1)
    assert bad["faults"][0]["row"] == 3


def test_verification_ends_in_time_and_says_what_it_found_so_far(
    used: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alter(used)
    times = iter(range(1000))
    monkeypatch.setattr(verify, "monotonic", lambda: float(next(times)))
    report = call(used, "POST", "/audit/verify", status=200, json={}).json or {}
    assert not report["complete"]
    assert [fault["row"] for fault in report["faults"]] == [3]
    assert sum(report["verified"].values()) == audit.VERIFIES_FOR
    assert used.wiring.store.trail is not None


def test_one_verification_at_a_time(used: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    verify_for = verify.verify_for

    def slow(*arguments: Any) -> verify.VerificationReport:
        begun.set()
        goes_on.wait(10)
        return verify_for(*arguments)

    monkeypatch.setattr(verify, "verify_for", slow)
    other = threading.Thread(target=lambda: call(used, "POST", "/audit/verify", json={}))
    other.start()
    begun.wait(10)
    refused = call(used, "POST", "/audit/verify", status=409, json={})
    goes_on.set()
    other.join()
    assert "being verified" in refused.text
    call(used, "POST", "/audit/verify", status=200, json={})


def test_the_state_is_that_of_the_servers_own_checkpoint(used: World) -> None:
    used.wiring.maintenance.run("seal")
    state = got(used, "/audit/state")
    assert (state["altered"], state["checkpoint"] > 0) == (None, True)
    used.wiring.maintenance.altered = "record 3 is altered"
    assert got(used, "/audit/state")["altered"] == "record 3 is altered"


# The pages.


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({"kind": "token"}, lambda each: each["kind"] == "token"),
        ({"account": "alice"}, lambda each: "alice" in (each.get("account"), each["target"][5:])
         if each["kind"] == "change" else each["account"] == "alice"),
        ({"action": "registry.edit"}, lambda each: each["action"] == "registry.edit"),
        ({"outcome": "partial"}, lambda each: each["outcome"] == "partial"),
        ({"registry": SERVICE}, lambda each: each["registry"] == SERVICE),
        ({"repository": "team/app"}, lambda each: "team/app" in each["requested"]),
        ({"address": "127.0.0.1"}, lambda each: each["address"] == "127.0.0.1"),
        ({"since": "2020-01-01"}, lambda _: True),
        ({"until": "2999-12-31T23:59"}, lambda _: True),
        ({"until": "2999-12-31T23:59:30"}, lambda _: True),
    ],
)  # fmt: skip
def test_the_list_is_filtered(
    used: World, office: Visitor, query: dict[str, str], holds: Any
) -> None:
    rows = found(office, **query)
    assert rows
    assert all(holds(row) for row in rows)
    assert office.get("audit", **query).status_code == 200
    assert used.client is not None


def test_a_period_holds_and_a_time_that_is_none_is_refused(used: World, office: Visitor) -> None:
    assert found(office, until="2020-01-01T00:00") == []
    assert found(office, since="2999-12-31") == []
    page = office.get("audit", since="2020-01-01T10:30")
    assert 'value="2020-01-01T10:30"' in page.text
    assert office.get("audit", since="soon").status_code == 422
    assert used.client is not None


def test_both_kinds_have_their_columns_in_csv(used: World, office: Visitor) -> None:
    rows = [*csv.DictReader(io.StringIO(office.get("audit", format="csv").text))]
    assert len(rows) == len(found(office)) > 3
    assert len({row["kind"] for row in rows}) == 2
    edited = next(row for row in rows if row["action"] == "registry.edit")
    assert json.loads(edited["after"])["token_ttl"] == 600
    granted = next(row for row in rows if row["outcome"] == "partial")
    assert granted["granted"] == "repository:team/app:pull"
    assert granted["client"] == MARKUP
    assert used.client is not None


def test_a_change_is_shown_with_before_and_after(used: World, office: Visitor) -> None:
    (record,) = found(office, action="registry.edit")
    page = office.get("audit/show", kind="change", id=record["id"])
    shown = content(page)
    assert "token_ttl null 600" in shown
    assert page.text.count('<tr class="differs">') == 1
    assert "audit show change" in shown
    assert used.client is not None


def test_a_token_request_is_shown_with_its_rules(used: World, office: Visitor) -> None:
    (record,) = found(office, outcome="partial")
    page = office.get("audit/show", kind="token", id=record["id"])
    shown = content(page)
    for text in (record["jti"], record["request_id"], "granted in part", MARKUP):
        assert text in shown
    assert MARKUP not in page.text
    for rule in record["rules"]:
        assert f">rule {rule}</" in page.text
    for query in ({"kind": "token", "id": "x"}, {"kind": "<b>", "id": 1}, {}):
        assert office.get("audit/show", **query).status_code == 404
    assert used.client is not None


def test_verification_in_the_console(used: World, office: Visitor) -> None:
    used.wiring.maintenance.run("seal")
    assert "nothing altered" in content(office.get("audit/verify"))
    assert "All records are as they were written." in content(office.post("audit/verify"))
    alter(used)
    bad = content(office.post("audit/verify"))
    assert "1 fault: records were altered" in bad
    assert "audit restart --reason TEXT" in bad


def test_a_verification_without_time_says_so(
    used: World, office: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "VERIFIES_FOR", 0.0)
    assert "There was no time for the others" in content(office.post("audit/verify"))
    assert used.client is not None


def test_auditors_read_and_verify_and_others_nothing(used: World) -> None:
    used.user("vera")
    with used.wiring.store.change("test") as change:
        accounts.set_role(change, "vera", auditor=True)
    used.wiring.state.refresh()
    for name, status in (("vera", 200), ("alice", 403)):
        visitor = Visitor(used)
        visitor.log_in(name)
        for page in ("audit", "audit?format=csv", "audit/show?kind=change&id=1", "audit/verify"):
            assert visitor.get(page).status_code == status, page
        assert visitor.post("audit/verify").status_code == status

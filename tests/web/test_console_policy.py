"""The console's policy: export, plan and apply of a file, and what is refused with its lines."""

from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from authserver.db import accounts, console_sessions
from authserver.db.models import AccountRow, AuditRecord, ConsoleSessionRow
from authserver.web.console.policy_file import MAX_FILE
from tests.web.visitor import OWN_FORM, Visitor, content, hidden
from tests.world import ADMIN, SERVICE, World

NEW = """\
groups:
  team: [user:alice]
rules:
  # kept as it was written
  - {effect: allow, subjects: [user:admin], patterns: ['**'], actions: [all],
     comment: made by init}
  - effect: allow
    subjects: [group:team]
    patterns: [team/**]
    actions: [pull]
    comment: "<b>why</b> & so"
"""


@pytest.fixture
def office(world: World) -> Visitor:
    world.user("alice")
    visitor = Visitor(world)
    assert visitor.log_in().status_code == 303
    return visitor


def planned(visitor: Visitor, text: str | bytes, **form: str) -> TestResponse:
    file = FileStorage(BytesIO(text.encode() if isinstance(text, str) else text), "any.yml")
    return sent(visitor, "policy/plan", {"file": file, **form})


def sent(visitor: Visitor, page: str, form: dict[str, Any]) -> TestResponse:
    """Send a form with a file. The client of tests would leave the file of a large one open."""
    boundary, body = encode_multipart(form)
    kind = f'multipart/form-data; boundary="{boundary}"'
    return visitor.client.post(f"/console/{page}", data=body, content_type=kind, headers=OWN_FORM)


def sent_on(page: TestResponse, text: str, **form: str) -> dict[str, str]:
    """Return the form by which a browser applies a plan: with the line ends of forms."""
    assert "<textarea" in page.text
    return {**hidden(page.text), "policy": text.replace("\n", "\r\n"), **form}


def groups(world: World) -> list[str]:
    with world.wiring.store.read() as session:
        return [name for name in session.scalars(select(AuditRecord.action)) if name == "group.add"]


def test_the_export_is_the_commands_file(office: Visitor) -> None:
    page = office.get("policy/export")
    assert page.headers["Content-Disposition"] == 'attachment; filename="policy.yml"'
    assert "  alice:\n    kind: user\n" in page.text
    assert "Nothing to change." in content(planned(office, page.text))
    assert "policy/export" in office.get("policy").text


def test_the_plan_that_was_shown_is_applied(world: World, office: Visitor) -> None:
    page = planned(office, NEW)
    shown = content(page)
    assert "3 to add, 0 to change, 0 to remove." in shown
    assert "alice gains pull team/**" in shown
    assert "<b>why" not in page.text
    assert groups(world) == []
    done = office.post("policy/apply", sent_on(page, NEW))
    assert "3 added, 0 changed, 0 removed." in content(done)
    assert len(groups(world)) == 1
    again = office.post("policy/apply", sent_on(page, NEW))
    assert again.status_code == 409
    assert "the plan is another one now" in content(again).lower()


def test_another_plan_is_shown_and_not_applied(world: World, office: Visitor) -> None:
    form = sent_on(planned(office, NEW), NEW)
    world.group("team")
    late = office.post("policy/apply", form)
    assert late.status_code == 409
    assert "2 to add" in content(late)
    assert "2 added" in content(office.post("policy/apply", sent_on(late, NEW)))


def test_another_file_is_not_applied_under_the_plan_that_was_shown(
    world: World, office: Visitor
) -> None:
    form = sent_on(planned(office, NEW), NEW.replace("[pull]", "[push]"))
    assert office.post("policy/apply", form).status_code == 409
    assert groups(world) == []


def test_pruning_travels_with_the_plan_and_force_is_asked_for(
    world: World, office: Visitor
) -> None:
    world.group("old", "alice")
    world.deny("group:old", "secret/**", "pull")
    text = "groups: {}\n"
    page = planned(office, text, prune="on")
    assert "1 to remove" in content(page) or "to remove" in content(page)
    form = sent_on(page, text)
    assert form["prune"] == "on"
    assert office.post("policy/apply", form).status_code == 409
    assert 'name="force"' in page.text
    assert office.post("policy/apply", {**form, "force": "on"}).status_code == 200


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("groups:\n  team: [user:nobody]\n", 2, "nobody"),
        ("rules:\n  - {effect: allow, subjects: [user:alice], patterns: [Team/x]}\n", 2, "Actions"),
        (("rules:\n\n- effect: allow\n  subjects: [user:ghost]\n  patterns: [a]\n"
         "  actions: [pull]\n"), 3, "ghost"),
        ("groups: [\n", 2, "YAML"),
        ("x: 1\n", 1, "x"),
        (b"\xff\xfe", 1, "UTF-8"),
        ("a: &x 1\nb: *x\n", 1, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_has_its_line(
    office: Visitor, text: str | bytes, line: int, said: str
) -> None:
    page = planned(office, text)
    assert page.status_code in (409, 422)
    assert f"<td>{line}</td>" in page.text, page.text
    assert said in content(page)
    assert "<textarea" not in page.text


@pytest.mark.parametrize("text", ["", "# nothing\n", "tests: []\n"])
def test_a_file_that_says_nothing_is_refused(office: Visitor, text: str) -> None:
    page = planned(office, text)
    assert page.status_code == 409
    assert 'role="alert"' in page.text


def test_a_large_file_goes_both_ways_and_a_larger_one_is_refused(office: Visitor) -> None:
    text = NEW + "# " + "x" * (MAX_FILE - len(NEW) - 3) + "\n"
    page = planned(office, text)
    assert "3 to add" in content(page)
    assert "3 added" in content(sent(office, "policy/apply", sent_on(page, text)))
    assert planned(office, text + "#").status_code == 409
    assert planned(office, "#" * 5 * 2**20).status_code == 413


def test_applying_needs_a_fresh_proof(world: World, office: Visitor) -> None:
    form = sent_on(planned(office, NEW), NEW)
    with world.wiring.store.append() as session:
        for row in session.scalars(select(ConsoleSessionRow)):
            row.proved_at -= console_sessions.FRESH
    for answer in (office.get("policy/plan"), office.post("policy/apply", form)):
        assert answer.status_code == 303
        assert answer.location.startswith("/console/confirm")
    assert groups(world) == []
    assert office.get("policy").status_code == 200


def test_auditors_plan_and_others_do_nothing(world: World, office: Visitor) -> None:
    form = sent_on(planned(office, NEW), NEW)
    world.user("erin")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "erin", auditor=True)
    world.wiring.state.refresh()
    auditor, user = Visitor(world), Visitor(world)
    auditor.log_in("erin")
    user.log_in("alice")
    page = planned(auditor, NEW)
    assert "3 to add" in content(page)
    assert "<textarea" not in page.text
    assert auditor.get("policy/export").status_code == 200
    assert auditor.post("policy/apply", form).status_code == 403
    for name in ("policy", "policy/export", "policy/plan"):
        assert user.get(name).status_code == 403
    assert planned(user, NEW).status_code == 403
    assert planned(user, "#" * 2**20).status_code == 413
    assert user.post("policy/apply", form).status_code == 403
    assert groups(world) == []


def test_the_last_administrator_stays(world: World, office: Visitor) -> None:
    text = f"accounts:\n  {ADMIN}: {{kind: user}}\n"
    page = planned(office, text)
    form = sent_on(page, text, force="on")
    assert office.post("policy/apply", form).status_code == 409
    with world.wiring.store.read() as session:
        assert session.scalars(select(AccountRow).where(AccountRow.name == ADMIN)).one().admin
    assert SERVICE in office.get("policy/export").text

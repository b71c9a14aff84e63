"""The console's pages on users."""

import secrets
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from authserver.db import accounts, app_tokens, console_sessions, lookup, second_factors
from authserver.db.models import ConsoleSessionRow, InvitationRow
from tests.stores import dumped
from tests.web.visitor import Visitor, content, hidden
from tests.world import ADMIN, PASSWORD, World


@pytest.fixture
def office(world: World) -> Visitor:
    """An administrator who is logged in."""
    visitor = Visitor(world)
    assert visitor.log_in().status_code == 303
    return visitor


def make_stale(world: World) -> None:
    """Have every proof be too old for what needs a fresh one."""
    with world.wiring.store.append() as session:
        old = world.wiring.store.time(session) - console_sessions.FRESH
        session.execute(update(ConsoleSessionRow).values(proved_at=old))


def invited(world: World) -> int:
    with world.wiring.store.read() as session:
        return len(session.scalars(select(InvitationRow)).all())


def link_in(page: str) -> str:
    return page.partition('<pre tabindex="0"><code>')[2].partition("<")[0]


def test_a_new_user_gets_a_link_that_is_shown_once(world: World, office: Visitor) -> None:
    made = office.submit("users/new", {"name": "dora", "invite": "on"})
    link = link_in(made.text)
    assert made.status_code == 200
    assert link.startswith("http://localhost:5001/")
    assert made.headers["Cache-Control"] == "no-store"
    code = link.partition("#")[2]
    assert code
    assert code not in dumped(world.wiring.store)
    page = office.get("users/show", name="dora")
    assert code not in page.text
    assert "Invited until" in content(page)
    assert "no password" in content(page)


def test_a_new_user_is_none_that_is_there(world: World, office: Visitor) -> None:
    world.user("dora")
    made = office.submit("users/new", {"name": "dora", "invite": "on"})
    assert made.status_code == 412
    assert "It is there already." in content(made)
    assert invited(world) == 0


def test_a_password_is_reset_later_or_at_once(world: World, office: Visitor) -> None:
    world.user("dora")
    later = office.submit("users/invite", {"reset": "later"}, name="dora")
    assert link_in(later.text).startswith("http://localhost:5001/")
    assert world.get("service=registry", auth=("dora", PASSWORD)).status_code == 200
    office.submit("users/invite", {"reset": "now"}, name="dora")
    world.wiring.state.refresh()
    assert world.get("service=registry", auth=("dora", PASSWORD)).status_code == 401
    assert invited(world) == 1


def test_the_last_administrators_password_stays(office: Visitor) -> None:
    answer = office.submit("users/invite", {"reset": "now"}, name=ADMIN)
    assert answer.status_code == 409
    assert "last administrator" in content(answer)


def test_disabling_says_what_ends_and_is_undone(world: World, office: Visitor) -> None:
    world.user("dora")
    world.log_in("dora")
    shown = office.get("users/disable", name="dora")
    assert "1 login" in content(shown)
    assert world.get("service=registry", auth=("dora", PASSWORD)).status_code == 200
    done = office.post("users/disable", hidden(shown.text), name="dora")
    world.wiring.state.refresh()
    assert done.location == "/console/users/show?name=dora"
    assert "disabled" in content(office.get("users/show", name="dora"))
    assert world.get("service=registry", auth=("dora", PASSWORD)).status_code == 401
    office.submit("users/enable", {}, name="dora")
    world.wiring.state.refresh()
    assert world.get("service=registry", auth=("dora", PASSWORD)).status_code == 200


def test_a_user_is_renamed(world: World, office: Visitor) -> None:
    world.user("dora")
    world.user("emil")
    taken = office.submit("users/rename", {"name": "emil"}, name="dora")
    assert taken.status_code == 409
    assert 'value="emil"' in taken.text
    done = office.submit("users/rename", {"name": "d'ora"}, name="dora")
    assert done.location == "/console/users/show?name=d%27ora"
    assert office.client.get(done.location).status_code == 200


def test_the_role_and_app_tokens_only_are_edited(world: World, office: Visitor) -> None:
    world.user("dora")
    answer = office.submit("users/edit", {"admin": "on", "app_tokens_only": "on"}, name="dora")
    assert answer.location == "/console/users/show?name=dora"
    shown = content(office.get("users/show", name="dora"))
    assert "administrator" in shown
    assert "app tokens only" in shown
    assert office.submit("users/edit", {}, name="dora").status_code == 303
    assert "administrator" not in content(office.get("users/show", name="dora"))


@pytest.mark.parametrize(("choice", "left"), [("keep", 1), ("revoke", 0)])
def test_app_tokens_that_would_administer_are_asked_about(
    world: World, office: Visitor, choice: str, left: int
) -> None:
    world.user("dora")
    number, _secret = world.app_token("dora", "admin", name="deploy")
    asked = office.submit("users/edit", {"admin": "on"}, name="dora")
    assert asked.status_code == 409
    assert f"{number}: deploy" in content(asked)
    form = hidden(asked.text) | {"admin": "on", "admin_tokens": choice}
    assert office.post("users/edit", form, name="dora").status_code == 303
    with world.wiring.store.read() as session:
        row = lookup.account(session, "dora")
        assert row.admin
        assert len(app_tokens.listed(session, "dora")) == left


def test_an_edit_of_what_was_changed_meanwhile_shows_both(world: World, office: Visitor) -> None:
    world.user("dora")
    form = hidden(office.get("users/edit", name="dora").text)
    with world.wiring.store.change("test") as change:
        accounts.set_app_tokens_only(change, "dora", only=True)
    answer = office.post("users/edit", form, name="dora")
    assert answer.status_code == 412
    assert "App tokens only no yes" in content(answer)
    assert office.post("users/edit", hidden(answer.text), name="dora").status_code == 303
    assert "app tokens only" not in content(office.get("users/show", name="dora"))


def add_factor(world: World, name: str) -> None:
    with world.wiring.store.change("test") as change:
        account = lookup.account(change.session, name)
        second_factors.add_totp(change, account, "my <phone>", b"sealed", 1, secrets.token_bytes)
    world.wiring.state.refresh()


def test_second_factors_are_shown_and_reset(world: World, office: Visitor) -> None:
    world.user("dora")
    Visitor(world).log_in("dora")
    assert "second-factors/reset" not in office.get("users/show", name="dora").text
    add_factor(world, "dora")
    assert "dora second factor" in content(office.get("users"))
    page = office.get("users/show", name="dora")
    assert "my <phone> (last used: never" in content(page)
    assert "<phone>" not in page.text
    shown = office.get("users/second-factors/reset", name="dora")
    assert "1 second factor : my <phone>" in content(shown)
    done = office.post("users/second-factors/reset", hidden(shown.text), name="dora")
    assert done.location == "/console/users/show?name=dora"
    with world.wiring.store.read() as session:
        assert not second_factors.listed(session, lookup.account(session, "dora").id)


def test_second_factors_are_reset_after_a_fresh_proof_by_administrators_only(
    world: World, office: Visitor
) -> None:
    world.user("dora")
    add_factor(world, "dora")
    world.user("alice")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", auditor=True)
    world.wiring.state.refresh()
    auditor = Visitor(world)
    auditor.log_in("alice")
    assert "second-factors/reset" not in auditor.get("users/show", name="dora").text
    make_stale(world)
    for method in ("get", "post"):
        page = "users/second-factors/reset"
        assert getattr(auditor, method)(page, name="dora").status_code == 403
        answer = getattr(office, method)(page, name="dora")
        assert answer.location.startswith("/console/confirm")


def test_a_user_leads_to_what_they_have(world: World, office: Visitor) -> None:
    world.user("do'ra")
    world.app_token("do'ra", name="laptop")
    page = office.get("users/show", name="do'ra").text
    for part in ("tokens", "sessions", "sessions/console", "tokens/new"):
        assert f'href="/console/{part}?account=do%27ra"' in page
        assert office.get(part, account="do'ra").status_code == 200
    assert "laptop" in content(office.get("tokens", account="do'ra"))


ON_ADMINISTRATORS = ["edit", "invite", "disable", "rename", "remove"]


@pytest.mark.parametrize("role", ["admin", "auditor"])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("page", ON_ADMINISTRATORS)
def test_an_administrator_or_auditor_is_touched_after_a_fresh_proof_only(
    world: World, office: Visitor, page: str, method: str, role: str
) -> None:
    world.user("dora")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "dora", admin=role == "admin", auditor=role == "auditor")
    make_stale(world)
    answer = getattr(office, method)(f"users/{page}", name="dora")
    assert answer.location.startswith("/console/confirm?next=")
    with world.wiring.store.read() as session:
        row = lookup.account(session, "dora")
        assert (getattr(row, role), row.disabled_at) == (True, None)


@pytest.mark.parametrize("role", ["admin", "auditor"])
def test_an_administrator_or_auditor_is_made_after_a_fresh_proof_only(
    world: World, office: Visitor, role: str
) -> None:
    world.user("dora")
    form = hidden(office.get("users/edit", name="dora").text) | {role: "on"}
    make_stale(world)
    assert office.post("users/edit", form, name="dora").location.startswith("/console/confirm")
    assert office.post("users/new", {"name": "n", role: "on"}).location.startswith("/console/conf")
    shown = content(office.get("users/show", name="dora"))
    assert "administrator" not in shown
    assert "auditor" not in shown


def test_an_auditor_reads_and_is_offered_nothing_else(world: World, office: Visitor) -> None:
    world.user("dora")
    office.submit("users/edit", {"auditor": "on"}, name="dora")
    world.wiring.state.refresh()
    auditor = Visitor(world)
    auditor.log_in("dora")
    for page in ("users", "users/show?name=admin"):
        shown = auditor.get(page)
        assert shown.status_code == 200
        for act in ("new", "edit", "invite", "disable", "rename", "remove"):
            assert f"/console/users/{act}" not in shown.text
    assert auditor.get("users/edit", name=ADMIN).status_code == 403
    assert auditor.post("users/remove", name=ADMIN).status_code == 403


@pytest.mark.parametrize(
    "page", ["users/new", "users/edit", "users/invite", "users/disable", "users/rename"]
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_user_changes_no_user(world: World, page: str, method: str) -> None:
    world.user("alice")
    visitor = Visitor(world)
    visitor.log_in("alice")
    assert getattr(visitor, method)(page, name=ADMIN).status_code == 403


def test_the_list_is_narrowed_by_the_last_use(world: World, office: Visitor) -> None:
    world.user("dora")
    tomorrow = (world.wiring.store.clock() + timedelta(days=2)).date().isoformat()
    page = office.get("users", unused_since=tomorrow)
    assert "dora" in content(page)
    assert f'type="date" value="{tomorrow}"' in page.text
    assert "dora" not in content(office.get("users", unused_since="2001-01-01"))
    assert office.get("users", unused_since="2001-13-01").status_code == 422

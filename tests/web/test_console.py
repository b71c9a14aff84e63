"""The console: who gets in, for how long, and what forms and addresses of other sites achieve."""

import json
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from werkzeug.test import Client, TestResponse

from authserver.core import secret_tokens
from authserver.core.errors import Forbidden, Unauthorized
from authserver.core.secret_tokens import Prefix
from authserver.db import accounts, console_sessions
from authserver.db.console_sessions import ConsoleLogin, Stage
from authserver.db.models import AuditRecord, ConsoleSessionRow
from authserver.runtime.settings import Settings
from authserver.web.app import create_administration
from authserver.web.console import lists
from authserver.web.console.listener import PLAIN_COOKIE, SECURE_COOKIE, ConsoleListener
from tests import stores
from tests.stores import dumped
from tests.web.visitor import OWN_FORM, Visitor, content, hidden
from tests.world import ADMIN, PASSWORD, World


@pytest.fixture
def visitor(world: World) -> Visitor:
    return Visitor(world)


@pytest.fixture
def office(visitor: Visitor) -> Visitor:
    """An administrator who is logged in."""
    assert visitor.log_in().status_code == HTTPStatus.SEE_OTHER
    return visitor


def is_out(response: TestResponse) -> bool:
    return response.status_code == 303 and response.location.startswith("/console/login")


def age(world: World, **columns: Any) -> None:
    with world.wiring.store.append() as session:
        session.execute(update(ConsoleSessionRow).values(columns))


def test_a_login_opens_a_session_and_leads_on(visitor: Visitor) -> None:
    assert is_out(visitor.get("users"))
    answer = visitor.log_in(next="/console/users?q=ad")
    assert (answer.status_code, answer.location) == (303, "/console/users?q=ad")
    assert ADMIN in content(visitor.get("users"))
    assert visitor.get("login").location == "/console/"


@pytest.mark.parametrize(
    ("name", "password"),
    [(ADMIN, "wrong"), ("nobody", PASSWORD), ("gone", PASSWORD), (ADMIN, ""), ("", "")],
)
def test_wrong_unknown_and_disabled_are_answered_alike(
    world: World, visitor: Visitor, name: str, password: str
) -> None:
    world.user("gone")
    world.disable("gone")
    answer = visitor.log_in(name, password)
    assert answer.status_code == 403
    assert "The name or the password is wrong." in content(answer)
    assert visitor.cookie is None
    assert "WWW-Authenticate" not in answer.headers


def test_an_app_token_is_no_login(world: World, visitor: Visitor) -> None:
    world.user("alice")
    _, secret = world.app_token("alice")
    assert visitor.log_in("alice", secret).status_code == 403


def test_guesses_are_limited_as_at_the_token_endpoint(world: World, visitor: Visitor) -> None:
    answers = [visitor.log_in(password=f"guess {number}") for number in range(11)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) > 0
    # The same counts: the token endpoint refuses too, and has not seen one guess itself.
    assert world.get("service=registry", auth=(ADMIN, "another")).status_code == 429


def test_logging_out_ends_the_session_itself(office: Visitor) -> None:
    cookie = office.cookie or ""
    assert is_out(office.post("logout"))
    assert office.cookie is None
    office.client.set_cookie(PLAIN_COOKIE, cookie)
    assert is_out(office.get("users"))


@pytest.mark.parametrize(
    "late",
    [
        {"seen_at": -console_sessions.IDLE},
        {"expires_at": timedelta()},
    ],
    ids=["idle", "long"],
)
def test_a_session_ends(world: World, office: Visitor, late: dict[str, timedelta]) -> None:
    with world.wiring.store.read() as session:
        now = world.wiring.store.time(session)
    age(world, **{name: now + by for name, by in late.items()})
    assert is_out(office.get("users"))
    with world.wiring.store.append() as session:
        console_sessions.prune(session, now)
        assert session.scalars(select(ConsoleSessionRow)).all() == []


def test_use_keeps_a_session_and_twelve_hours_end_it(world: World, office: Visitor) -> None:
    with world.wiring.store.read() as session:
        now = world.wiring.store.time(session)
    age(world, seen_at=now - console_sessions.IDLE + timedelta(minutes=1))
    assert office.get("users").status_code == 200
    with world.wiring.store.read() as session:
        row = session.scalars(select(ConsoleSessionRow)).one()
    assert row.seen_at >= now
    assert row.expires_at - row.created_at == timedelta(hours=12)


def disable(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.set_disabled(change, "alice", disabled=True)


def new_password(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.set_password(change, "alice", "$2b$04$" + "a" * 53)


def remove(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.remove(change, "alice")


def end(world: World) -> None:
    with world.wiring.store.change("test") as change:
        (row,) = change.session.scalars(select(ConsoleSessionRow)).all()
        console_sessions.end(change, row)


@pytest.mark.parametrize("cause", [disable, new_password, remove, end])
def test_sessions_end_at_once_with_what_they_rest_on(
    world: World, visitor: Visitor, cause: Any
) -> None:
    world.user("alice")
    visitor.log_in("alice")
    assert visitor.get("me").status_code == 200
    cause(world)
    # The snapshot is as old as it can be: no refresh.
    assert is_out(visitor.get("me"))


def test_the_store_has_no_secret_of_a_session(world: World, office: Visitor) -> None:
    assert office.cookie is not None
    assert office.cookie not in dumped(world.wiring.store)
    assert secret_tokens.digest(office.cookie) in dumped(world.wiring.store)


def test_logins_are_recorded(world: World, office: Visitor) -> None:
    office.post("logout")
    with world.wiring.store.read() as session:
        records = session.scalars(select(AuditRecord).order_by(AuditRecord.id)).all()
    last = [(each.action, each.actor) for each in records[-2:]]
    assert last == [("session.add", "account:admin"), ("session.revoke", "account:admin")]


def test_session_fixation_a_planted_cookie_does_not_become_a_login(
    world: World, visitor: Visitor
) -> None:
    planted = secret_tokens.make(Prefix.CONSOLE, lambda size: b"p" * size)
    visitor.client.set_cookie(PLAIN_COOKIE, planted)
    visitor.log_in()
    assert visitor.cookie != planted
    thief = Visitor(world)
    thief.client.set_cookie(PLAIN_COOKIE, planted)
    assert is_out(thief.get("users"))


def test_session_fixation_a_former_session_ends_with_a_new_login(
    world: World, office: Visitor
) -> None:
    former = office.cookie or ""
    office.client.get("/console/")
    assert office.log_in().status_code == 303
    thief = Visitor(world)
    thief.client.set_cookie(PLAIN_COOKIE, former)
    assert is_out(thief.get("users"))


def test_a_proof_gives_the_session_another_secret(world: World, office: Visitor) -> None:
    former = office.cookie or ""
    answer = office.post("confirm", {"password": PASSWORD, "next": "/console/users"})
    assert answer.location == "/console/users"
    assert office.cookie != former
    assert office.get("users").status_code == 200
    thief = Visitor(world)
    thief.client.set_cookie(PLAIN_COOKIE, former)
    assert is_out(thief.get("users"))


def test_step_up_skipped_leads_to_the_proof(world: World, office: Visitor) -> None:
    with world.wiring.store.read() as session:
        now = world.wiring.store.time(session)
    age(world, proved_at=now - console_sessions.FRESH)
    made = office.post("users/new", {"name": "second", "admin": "on"})
    assert (made.status_code, made.location.partition("?")[0]) == (303, "/console/confirm")
    assert "name=second" not in office.get("users").text
    assert office.post("confirm", {"password": "wrong"}).status_code == 403
    office.post("confirm", {"password": PASSWORD})
    assert office.post("users/new", {"name": "second", "admin": "on"}).status_code == 303
    assert "name=second" in office.get("users").text


FOREIGN: dict[str, dict[str, str]] = {
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "a sibling domain": {"Sec-Fetch-Site": "same-site"},
    "typed by the user": {"Sec-Fetch-Site": "none"},
    "another origin": {"Origin": "https://evil.example"},
    "a null origin": {"Origin": "null"},
    "the host that the request names": {"Host": "evil.example", "Origin": "http://evil.example"},
    "a browser that says neither": {},
    "an origin that begins alike": {"Origin": "http://localhost:5001.evil.example"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("page", ["login", "logout", "users/new", "language", "confirm"])
def test_csrf_a_form_of_another_site_does_nothing(
    office: Visitor, page: str, headers: dict[str, str]
) -> None:
    before = office.cookie
    form = {"name": "planted", "password": PASSWORD, "language": "zh-Hans"}
    assert office.post(page, form, headers).status_code == 403
    assert office.cookie == before
    assert "planted" not in office.get("users").text


def test_csrf_the_configured_origin_is_enough_for_browsers_without_fetch_metadata(
    visitor: Visitor,
) -> None:
    form = {"name": ADMIN, "password": PASSWORD}
    assert visitor.post("login", form, {"Origin": "http://localhost:5001"}).status_code == 303


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/console/",
        "/\\evil.example/console/",
        "/console/\\evil",
        "/console/\t/evil.example",
        "/console/../token",
        "/console/./..",
        "/console/%2e%2E/token",
        "javascript:alert(1)",
        "/token",
        "/consolex",
        "",
    ],
)
def test_open_redirect_a_login_leads_nowhere_else(visitor: Visitor, target: str) -> None:
    assert visitor.log_in(next=target).location == "/console/"


def test_host_header_tricks_change_no_link(office: Visitor) -> None:
    hostile = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil"}
    page = office.client.get("/console/users", headers=hostile)
    out = Visitor(office.world).client.get("/console/users", headers=hostile)
    assert "evil" not in page.text + str(out.headers)
    assert out.location == "/console/login?next=%2Fconsole%2Fusers"


@pytest.mark.parametrize("page", ["login", "users", "users/show?name=admin", "nothing-here", "me"])
def test_clickjacking_and_caches_every_page_forbids_them(office: Visitor, page: str) -> None:
    headers = office.get(page).headers
    policy = headers["Content-Security-Policy"]
    for directive in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert directive in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert "WWW-Authenticate" not in headers


def test_no_page_has_script_or_style_in_it(office: Visitor) -> None:
    for page in ("login", "users", "users/new", "confirm"):
        text = office.get(page).text
        assert "style=" not in text
        assert "<style" not in text
        assert " onclick" not in text
        assert "<script>" not in text


def test_static_files_are_kept_by_browsers_and_nothing_else(office: Visitor) -> None:
    style = office.get("login" if office.cookie is None else "users").text
    path = style[style.index("/console/static/") :].partition('"')[0]
    answer = office.client.get(path)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]
    assert office.get("static/0/console.css").status_code == 404
    assert office.client.get(path.rpartition("/")[0] + "/../login.py").status_code == 404


def test_a_user_gets_no_page_of_administrators(world: World, visitor: Visitor) -> None:
    world.user("alice")
    visitor.log_in("alice")
    assert "Users" not in visitor.get("me").text
    for page in ("users", "users/new", "users/show?name=admin"):
        answer = visitor.get(page)
        assert answer.status_code == 403, page
    assert visitor.post("users/new", {"name": "made"}).status_code == 403


def test_a_new_user_is_made_and_removed_with_what_goes(world: World, office: Visitor) -> None:
    assert office.submit("users/new", {"name": "dora"}).location == "/console/users/show?name=dora"
    world.allow("user:dora", "team/**", "pull")
    shown = office.get("users/remove", name="dora")
    assert "1 rule" in content(shown)
    form = hidden(shown.text)
    assert office.post("users/remove", form, name="dora").location == "/console/users"
    assert office.get("users/show", name="dora").status_code == 404


def test_what_is_wrong_with_a_form_stands_in_it(office: Visitor) -> None:
    answer = office.submit("users/new", {"name": "a/b"})
    assert answer.status_code == 409
    assert "a/b" in content(answer)
    assert 'value="a/b"' in answer.text


@pytest.mark.parametrize("name", ["..", ".", "<b>x", "a'b", 'a"b', "é", "-x", "a b?&=#%"])
def test_odd_names_have_their_page(office: Visitor, name: str) -> None:
    made = office.submit("users/new", {"name": name})
    if made.status_code == 409:
        return
    page = office.client.get(made.location)
    assert page.status_code == 200
    assert f"<h1>{name}</h1>" not in page.text or "<" not in name
    assert name in content(page)


def test_a_list_is_paged_by_cursor_and_given_as_files(world: World, office: Visitor) -> None:
    for name in ("=1+1", "bob", "carol"):
        world.user(name)
    names: list[str] = []
    page: str | None = "users?limit=2"
    while page is not None:
        text = office.client.get(f"/console/{page.removeprefix('/console/')}").text
        names += [part.partition("<")[0] for part in text.split("users/show?name=")[1:]]
        found = text.partition('<a rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
        page = found or None
    assert len(names) == 4
    rows = json.loads(office.get("users", format="json", sort="-name").text)
    assert [row["name"] for row in rows] == ["carol", "bob", "admin", "=1+1"]
    lines = office.get("users", format="csv").text.splitlines()
    assert lines[0].startswith("name,kind,admin")
    assert lines[1].startswith("'=1+1,")
    assert json.loads(office.get("users", format="json", q="nothing").text) == []


def test_the_language_is_chosen(office: Visitor) -> None:
    def tag(headers: dict[str, str] | None = None) -> str:
        page = office.client.get("/console/me", headers=headers).text
        return page.partition('lang="')[2].partition('"')[0]

    assert tag() == "en"
    assert tag({"Accept-Language": "de, zh-CN;q=0.8"}) == "zh-Hans"
    assert tag({"Accept-Language": "fr"}) == "en"
    answer = office.post("language", {"language": "zh-Hans", "next": "/console/me"})
    assert answer.location == "/console/me"
    assert tag({"Accept-Language": "en"}) == "zh-Hans"
    office.post("language", {"language": "../../etc"})
    assert tag() == "zh-Hans"


@pytest.mark.parametrize(
    ("url", "cookie", "secure"),
    [
        ("https://auth.example.com", SECURE_COOKIE, True),
        ("http://auth.example.com", PLAIN_COOKIE, False),
    ],
)
def test_the_cookie_is_bound_to_tls_where_there_is_some(
    url: str, cookie: str, *, secure: bool
) -> None:
    listener = ConsoleListener.public(Settings(public_url=url))
    assert (listener.cookie, listener.is_secure) == (cookie, secure)


@pytest.fixture
def apart(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    settings = {"admin_listen": "127.0.0.1:1", "public_url": "https://auth.example.com/reg"}
    world = made_with(template, tmp_path_factory, **settings)
    yield world
    world.close()


def made_with(template: Path, tmp_path_factory: pytest.TempPathFactory, **settings: Any) -> World:
    data_dir = tmp_path_factory.mktemp("console") / "data"
    stores.copied(template, data_dir)
    return World.over(stores.settings(data_dir, **settings))


def test_with_a_listener_of_its_own_the_administration_is_there_alone(apart: World) -> None:
    public = apart.client.application.test_client()
    form = {"name": ADMIN, "password": PASSWORD}
    secure = {"base_url": "https://auth.example.com"}
    answer = public.post("/console/login", data=form, headers=OWN_FORM, **secure)
    assert answer.location == "/reg/console/"
    assert answer.headers["Set-Cookie"].startswith(f"{SECURE_COOKIE}=")
    for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert attribute in answer.headers["Set-Cookie"]
    assert public.get("/console/users", **secure).status_code == 404
    me = public.get("/console/me", **secure)
    assert me.status_code == 200
    assert "/reg/console/users" not in me.text
    office = Client(create_administration(apart.wiring))
    assert office.post("/console/login", data=form, headers=OWN_FORM).location == "/console/"
    assert office.get("/console/users").status_code == 200


def test_an_administration_without_a_url_takes_only_what_the_browser_vouches_for(
    apart: World,
) -> None:
    office = Client(create_administration(apart.wiring))
    form = {"name": ADMIN, "password": PASSWORD}
    for headers in ({"Origin": "https://auth.example.com"}, {"Origin": "http://localhost"}):
        answer = office.post("/console/login", data=form, headers=headers)
        assert answer.status_code == 403
        assert "AUTHSERVER_ADMIN_URL" in answer.text


def test_it_can_be_turned_off(template: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    world = made_with(template, tmp_path_factory, console="off")
    assert world.client.get("/console/login").status_code == 404
    assert "console" not in (world.client.get("/").json or {})
    world.close()


def test_an_export_ends_with_the_session_and_the_right(
    world: World, office: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "EXPORT_AT_ONCE", "1")
    for name in ("alice", "bob"):
        world.user(name)

    def rest_after(change: Any) -> str:
        answer = office.client.get("/console/users?format=csv", buffered=False)
        parts = answer.iter_encoded()
        first = next(parts)
        change()
        with pytest.raises((Unauthorized, Forbidden)):
            list(parts)
        return first.decode()

    def demote() -> None:
        with world.wiring.store.change("test") as change:
            accounts.set_role(change, ADMIN, admin=False, force=True)
        world.wiring.state.refresh()

    assert "name,kind" in rest_after(demote)
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, ADMIN, admin=True)
    world.wiring.state.refresh()
    assert "name,kind" in rest_after(lambda: end(world))


def test_a_password_alone_ends_no_open_session(world: World, office: Visitor) -> None:
    with world.wiring.store.change("test") as change:
        known = world.wiring.state.current.snapshot.accounts[ADMIN]
        for number in range(2 * console_sessions.MAX_SESSIONS):
            login = ConsoleLogin(known.id, Stage.PASSWORD, "192.0.2.7", "a thief")
            secret = secret_tokens.make(Prefix.CONSOLE, bytes([number]).ljust)
            console_sessions.add(change, login, secret)
    assert office.get("users").status_code == 200
    with world.wiring.store.read() as session:
        rows = session.scalars(select(ConsoleSessionRow)).all()
    assert len(rows) == 1 + console_sessions.MAX_SESSIONS

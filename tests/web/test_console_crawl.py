"""What holds for every page of the console: for each role, every link, every form, odd texts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Blueprint, Flask
from sqlalchemy import select

from authserver.core.subjects import Role
from authserver.db.models import AccountRow
from authserver.web.console import PREFIX, application, login
from authserver.web.console.visit import OPERATIONS, Visit
from tests import stores
from tests.stores import contents
from tests.web.crawler import SECRET, Crawler
from tests.web.hostile_world import AUDITOR, DELEGATE, PLAIN, seed
from tests.web.lasting import lasting
from tests.web.test_api import call
from tests.web.test_roles import secrets_of
from tests.web.visitor import Visitor
from tests.world import ADMIN, PASSWORD, World

ROLES = {"nobody": None, "plain": PLAIN, "delegate": DELEGATE, "auditor": AUDITOR, "admin": ADMIN}
UNLINKED = {
    "/console/logout": "a form of every page, which has no page of its own",
    "/console/language": "a form of every page, which has no page of its own",
    "/console/confirm": "a page that needs a fresh proof leads there: test_console",
    "/console/second-factor": "the login of who has one leads there: test_console_second_factors",
    "/console/my/second-factors/remove": "without a second factor there is none to remove",
    "/console/my/second-factors/codes": "without a second factor there are no recovery codes",
    "/console/keys/activate": "no key waits: test_console_keys",
    "/console/keys/authority/make": "the next authority waits already: test_console_keys",
    "/console/my/rules/enable": "no rule of the delegate is disabled: test_console_my_rules",
    "/console/policy/apply": "the plan of a file has its form: test_console_policy",
    "/console/users/second-factors/reset": "without a second factor there is none to reset",
    "/console/sessions/console/end-all": "the list of one account has it: test_console_sessions",
}
"""Pages that no crawl reaches by links, and why."""
# Who asks leaves traces there, which are not others' things.
TRACES = ("audit", "token_record", "console_session", "store_state", "alteration", "alembic")


@pytest.fixture(scope="module")
def seeded(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with something odd of every noun."""
    data_dir = stores.copied(template, tmp_path_factory.mktemp("odd") / "data")
    world = World.over(stores.settings(data_dir))
    seed(world)
    world.close()
    return data_dir


@pytest.fixture
def odd(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with lasting(seeded, tmp_path_factory) as world:
        yield world


@pytest.fixture(scope="module")
def walked(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Crawler]:
    """What each role is offered."""
    with lasting(seeded, tmp_path_factory) as world:
        crawlers = {role: Crawler(Visitor(world), name) for role, name in ROLES.items()}
        for crawler in crawlers.values():
            crawler.walk()
    return crawlers


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operations that pages ask; not those of which they only say whether they may be."""
    names: list[str] = []

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def asking(self: Visit, operation: str, *args: Any, **options: Any) -> Any:
            names.append(operation)
            return method(self, operation, *args, **options)

        return asking

    for name in ("require", "call"):
        monkeypatch.setattr(Visit, name, noting(getattr(Visit, name)))
    return names


def api_refuses(world: World, name: str, operation: str) -> bool:
    """Whether the API refuses an operation to somebody, whatever it is about."""
    found = OPERATIONS[operation]
    if found.need.of_account is Role.NOBODY:
        # It is decided by what it is about.
        return False
    path = found.path.replace("{", "").replace("}", "").replace("/id", "/999999")
    more: dict[str, Any] = {} if found.body is None else {"json": {}}
    answer = call(world, found.method, path, (name, PASSWORD), headers={"If-Match": "*"}, **more)
    return answer.status_code == 403


def others_things(world: World, name: str | None) -> dict[str, list[object]]:
    """Return all that a store holds which is not this account's own."""
    with world.wiring.store.read() as session:
        query = select(AccountRow.id).where(AccountRow.name == (name or ""))
        own = session.scalars(query).one_or_none() or 0
    found = contents(world.wiring.store)
    rules = {row.id for row in found["rule"] if row.author_id == own}
    return {
        table: [
            row
            for row in rows
            if not (table == "account" and row.id == own)
            and getattr(row, "account_id", None) != own
            and getattr(row, "author_id", None) != own
            and getattr(row, "rule_id", None) not in rules
        ]
        for table, rows in found.items()
        if not table.startswith(TRACES)
    }


@pytest.mark.parametrize("role", ROLES)
def test_links_and_forms_of_a_role(odd: World, role: str, asked: list[str]) -> None:
    name = ROLES[role]
    crawler, hashes = Crawler(Visitor(odd), name), secrets_of(odd)
    before = others_things(odd, name)
    crawler.walk()
    crawler.ask_badly()
    crawler.submit_all()
    assert "\n".join(map(str, crawler.faults.items())) == ""
    if role != "admin":
        assert others_things(odd, name) == before
    shown = [secret for answer in crawler.answers for secret in set(SECRET.findall(answer))]
    assert len(shown) == len(set(shown))
    hidden = hashes | secrets_of(odd) | {"PRIVATE KEY"}
    assert [one for one in hidden if any(one in answer for answer in crawler.answers)] == []
    operations = set(asked)
    if name is not None and role != "admin":
        offered = Crawler(Visitor(odd), name)
        asked.clear()
        offered.walk()
        assert [each for each in set(asked) if api_refuses(odd, name, each)] == []
    assert operations or role == "nobody"


@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
def test_what_only_others_are_offered_is_refused(
    odd: World, walked: dict[str, Crawler], role: str, asked: list[str]
) -> None:
    name, own = ROLES[role], walked[role]
    crawler = Crawler(Visitor(odd), name)
    before = others_things(odd, name)
    others = [each for each in walked.values() if each is not own]
    refused = set[str]()
    for path in sorted({path for each in others for path in each.offered} - own.offered.keys()):
        page, query = urlsplit(path).path, urlsplit(path).query
        if page == "/console/login":
            continue
        # A search or an order of a list of one's own; an id is that of a thing of others.
        if page in own.offered.values() and (role == "auditor" or "id=" not in query):
            continue
        asked.clear()
        answer = crawler.get(path)
        assert is_refused(answer.status_code, crawler), (role, path)
        refused.update(asked[-1:])
    for path, form in {
        each[0]: each[1] for other in others for each in other.forms.values()
    }.items():
        if any(path == offered for offered, _ in own.forms.values()):
            continue
        page = urlsplit(path).path
        if "id=" not in path and any(page == each for each, _ in own.forms):
            continue
        asked.clear()
        answer = crawler.post(path, form.fields)
        assert is_refused(answer.status_code, crawler), (role, path)
        refused.update(asked[-1:])
    assert others_things(odd, name) == before
    assert crawler.faults == {}
    if name is not None:
        role_refuses = {each for each in refused if api_refuses(odd, name, each)}
        assert role_refuses


def is_refused(status: int, crawler: Crawler) -> bool:
    return status in (403, 404) or (status == 303 and crawler.name is None)


def test_every_page_is_reached_by_links(walked: dict[str, Crawler]) -> None:
    app, parent = Flask("pages", static_folder=None), Blueprint("all", "pages", url_prefix=PREFIX)
    for pages in (login.pages, *application.EVERYBODY, *application.ADMINISTRATION):
        parent.register_blueprint(pages)
    app.register_blueprint(parent)
    routes = {rule.rule for rule in app.url_map.iter_rules()}
    reached = {page for crawler in walked.values() for page in crawler.offered.values()}
    assert sorted(routes - reached - UNLINKED.keys()) == []

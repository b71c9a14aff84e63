"""The console's pages of registries: entries, the section to copy, and the doctor."""

import html
import json
from datetime import timedelta

import pytest
import yaml
from sqlalchemy import update

from authserver.core.signatures import HeaderMode, KeyType
from authserver.db import accounts, console_sessions, lookup
from authserver.db.models import ConsoleSessionRow
from authserver.keys import registry_keys
from authserver.registry import entries
from authserver.registry.entries import Installation
from tests.web.visitor import Visitor, content, hidden
from tests.world import PASSWORD, SERVICE, World

NEW = {
    "url": "http://127.0.0.1:1",
    "token_ttl": "600",
    "refresh_tokens": "on",
    "version": "3.1",
    "trust": "bundle",
    "header_mode": "x5c",
    "key_type": "p-256",
}


@pytest.fixture
def office(world: World) -> Visitor:
    visitor = Visitor(world)
    visitor.log_in()
    return visitor


def with_own_key(world: World, service: str) -> None:
    with world.wiring.store.change("test") as change:
        row = entries.add(change, service, installation=Installation())
        safe = world.wiring.state.safe.still_of(change.session)
        registry_keys.set_up(change, safe, row, HeaderMode.LIBTRUST, KeyType.RSA2048)


def forget_proof(world: World) -> None:
    with world.wiring.store.append() as session:
        now = world.wiring.store.time(session)
        session.execute(
            update(ConsoleSessionRow).values(
                proved_at=now - console_sessions.FRESH - timedelta(seconds=1)
            )
        )


def shown(world: World, service: str) -> dict[str, object]:
    with world.wiring.store.read() as session:
        return entries.described(lookup.registry(session, service))


@pytest.mark.parametrize(
    "service", ["eu.example.com:5000", "a/b/check", "-x", "<b>&", "..", "?a=b"]
)
def test_a_registry_is_added_shown_changed_and_removed(
    world: World, office: Visitor, service: str
) -> None:
    added = office.submit("registries/new", NEW | {"service": service})
    assert added.status_code == 303, content(added)
    assert service in content(office.client.get(added.location))
    assert service in content(office.get("registries"))
    page = office.get("registries/show", service=service)
    assert service in content(page)
    assert "<b>&" not in page.text
    changed = office.submit("registries/edit", NEW | {"token_ttl": ""}, service=service)
    assert changed.status_code == 303, content(changed)
    entry = shown(world, service)
    assert (entry["token_ttl"], entry["url"]) == (None, "http://127.0.0.1:1")
    removed = office.submit("registries/remove", {}, service=service)
    assert removed.location == "/console/registries"
    assert office.get("registries/show", service=service).status_code == 404


def test_a_name_that_is_taken_is_refused_and_what_was_typed_stays(office: Visitor) -> None:
    answer = office.submit("registries/new", NEW | {"service": SERVICE})
    assert answer.status_code == 412
    assert "It is there already." in content(answer)
    assert 'value="600"' in answer.text


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"token_ttl": "soon"}, "token_ttl"),
        ({"token_ttl": "1"}, "token_ttl"),
        ({"url": "x"}, "url"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(
    office: Visitor, typed: dict[str, str], field: str
) -> None:
    answer = office.submit("registries/edit", NEW | typed, service=SERVICE)
    assert answer.status_code == 422
    assert f'id="{field}-wrong"' in answer.text
    assert f'value="{typed[field]}"' in answer.text


def test_what_the_version_cannot_accept_is_refused(office: Visitor) -> None:
    typed = NEW | {"version": "2.8", "header_mode": "rfc7638"}
    answer = office.submit("registries/edit", typed, service=SERVICE)
    assert answer.status_code == 409
    assert "libtrust" in content(answer)


def test_both_versions_of_a_conflict_are_shown_and_the_second_save_holds(
    world: World, office: Visitor
) -> None:
    form = hidden(office.get("registries/edit", service=SERVICE).text)
    with world.wiring.store.change("test") as change:
        entries.edit(change, SERVICE, token_ttl=1234)
    typed = NEW | {"token_ttl": "777"}
    answer = office.post("registries/edit", form | typed, service=SERVICE)
    assert answer.status_code == 200
    assert "1234" in content(answer)
    assert "777" in content(answer)
    assert shown(world, SERVICE)["token_ttl"] == 1234
    again = office.post("registries/edit", hidden(answer.text) | typed, service=SERVICE)
    assert again.status_code == 303
    assert shown(world, SERVICE)["token_ttl"] == 777


def test_logins_that_would_end_are_shown_before(world: World, office: Visitor) -> None:
    world.user("alice")
    world.log_in("alice")
    typed = NEW | {"app_tokens_only": "on"}
    answer = office.submit("registries/edit", typed, service=SERVICE)
    assert answer.status_code == 409
    assert "1 login" in content(answer)
    assert not shown(world, SERVICE)["app_tokens_only"]
    form = hidden(answer.text) | typed | {"confirm": "on"}
    assert office.post("registries/edit", form, service=SERVICE).status_code == 303
    assert shown(world, SERVICE)["app_tokens_only"]


def test_a_header_mode_that_is_in_force_at_once_is_confirmed(world: World, office: Visitor) -> None:
    with_own_key(world, "own")
    typed = NEW | {"version": "", "header_mode": "x5c", "key_type": "rsa-2048"}
    answer = office.submit("registries/edit", typed, service="own")
    assert answer.status_code == 409
    assert "within a second" in content(answer)
    assert shown(world, "own")["header_mode"] == "libtrust"
    form = hidden(answer.text) | typed | {"ready": "on"}
    assert office.post("registries/edit", form, service="own").status_code == 303
    assert shown(world, "own")["header_mode"] == "x5c"


def test_step_up_skipped_no_key_is_made(world: World, office: Visitor) -> None:
    forget_proof(world)
    typed = NEW | {"header_mode": "rfc7638", "key_type": "rsa-2048"}
    for page, form, query in (
        ("registries/new", typed | {"service": "new"}, {}),
        ("registries/edit", typed, {"service": SERVICE}),
    ):
        answer = office.submit(page, form, **query)
        assert answer.location.startswith("/console/confirm"), page
    assert "new" not in json.loads(office.get("registries", format="json").text)
    assert shown(world, SERVICE)["header_mode"] == "x5c"
    office.post("confirm", {"password": PASSWORD})
    assert office.submit("registries/edit", typed, service=SERVICE).status_code == 303
    assert shown(world, SERVICE)["waiting_key"] is not None


@pytest.mark.parametrize("version", ["2", "3"])
def test_the_section_and_its_files_are_there_to_copy(
    world: World, office: Visitor, version: str
) -> None:
    with_own_key(world, "own")
    page = office.get("registries/config", service="own", version=version)
    code = html.unescape(page.text.partition("<pre")[2].partition("<code>")[2].partition("</")[0])
    token = yaml.safe_load(code)["auth"]["token"]
    assert token["service"] == "own"
    assert ("signingalgorithms" in token) == (version == "3")
    assert "-----BEGIN CERTIFICATE-----" in page.text
    assert "PRIVATE" not in page.text
    assert office.get("registries/config", service="own", version="1").status_code == 422
    assert office.get("registries/config", service="none").status_code == 409


def test_a_check_shows_its_findings_and_is_shown_again(office: Visitor) -> None:
    assert "no URL" in content(office.get("registries/check", service=SERVICE))
    assert office.post("registries/check", service=SERVICE).status_code == 409
    office.submit("registries/edit", NEW, service=SERVICE)
    assert "not checked yet" in content(office.get("registries/check", service=SERVICE))
    answer = office.post("registries/check", service=SERVICE)
    assert answer.status_code == 200
    assert "Something failed." in content(answer)
    assert "What mends it" in content(answer)
    assert "failed" in content(office.get("registries"))
    assert "At the last check 1 thing failed." in content(
        office.get("registries/check", service=SERVICE)
    )


PAGES = ("", "/new", "/show", "/edit", "/config", "/check", "/remove")


@pytest.mark.parametrize("page", PAGES)
def test_a_plain_user_sees_and_does_nothing(world: World, page: str) -> None:
    world.user("alice")
    visitor = Visitor(world)
    visitor.log_in("alice")
    assert visitor.get(f"registries{page}", service=SERVICE).status_code == 403
    if page not in ("", "/show", "/config"):
        form = NEW | {"service": "planted"}
        answer = visitor.post(f"registries{page}", form, service=SERVICE)
        assert answer.status_code == 403
    assert shown(world, SERVICE)["token_ttl"] is None


def test_an_auditor_reads_and_is_offered_nothing_else(world: World, office: Visitor) -> None:
    office.submit("registries/edit", NEW, service=SERVICE)
    office.post("registries/check", service=SERVICE)
    world.user("vera")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "vera", auditor=True)
    world.wiring.state.refresh()
    visitor = Visitor(world)
    visitor.log_in("vera")
    for page in ("", "/show", "/config", "/check"):
        shown_page = visitor.get(f"registries{page}", **({"service": SERVICE} if page else {}))
        assert shown_page.status_code == 200, page
        main = shown_page.text.partition("<main")[2].partition("</main>")[0]
        for offered in ("registries/new", "registries/edit", "registries/remove", 'method="post"'):
            assert offered not in main, page
    assert "What mends it" in visitor.get("registries/check", service=SERVICE).text
    for page in ("/new", "/edit", "/check", "/remove"):
        answer = visitor.post(f"registries{page}", NEW | {"service": "x"}, service=SERVICE)
        assert answer.status_code == 403, page

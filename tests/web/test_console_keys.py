"""The console's pages of keys: the list, rotation and revocation, and the steps to an authority."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from authserver.core.signatures import HeaderMode, KeyType
from authserver.db import accounts, console_sessions
from authserver.db.models import ConsoleSessionRow
from authserver.keys import authorities, registry_keys, signing_keys
from authserver.registry import entries
from tests.web.visitor import Visitor, content
from tests.world import PASSWORD, SERVICE, World


@pytest.fixture
def office(world: World) -> Visitor:
    visitor = Visitor(world)
    visitor.log_in()
    return visitor


def with_own_key(world: World, service: str) -> None:
    with world.wiring.store.change("test") as change:
        row = entries.add(change, service)
        safe = world.wiring.state.safe.still_of(change.session)
        registry_keys.set_up(change, safe, row, HeaderMode.LIBTRUST, KeyType.RSA2048)


def states(world: World) -> list[str]:
    with world.wiring.store.read() as session:
        return [f"{key.role} {key.id} {key.state}" for key in signing_keys.listed(session)]


def answered(office: Visitor, page: str, **query: Any) -> str:
    """Confirm what a page asks, and return where it leads."""
    answer = office.submit(page, {}, **query)
    assert answer.status_code == 303, content(answer)
    return answer.location


def due(office: Visitor) -> str:
    page = office.get("keys/authority").text
    _, _, current = page.partition('aria-current="step"')
    return content_of(current.partition("</h2>")[0])


def content_of(markup: str) -> str:
    return markup.partition("<h2>")[2].partition("<")[0].strip()


def test_the_list_leads_to_each_key_and_the_bundle(world: World, office: Visitor) -> None:
    with_own_key(world, "own")
    shown = content(office.get("keys"))
    for text in ("authority 1", "signing key 1", "signing key 2", "own", "active"):
        assert text in shown
    assert "SHA" not in content(office.get("keys/show", role="authority", id=1))
    assert "libtrust" in content(office.get("keys/show", role="signing key", id=2))
    bundle = office.get("keys/bundle").text
    assert bundle.count("-----BEGIN CERTIFICATE-----") == 1
    assert "PRIVATE" not in bundle


@pytest.mark.parametrize("wanted", ["99", "x", "-1", "", "9" * 19, "9" * 400])
def test_a_key_that_is_not_there(office: Visitor, wanted: str) -> None:
    assert office.get("keys/show", role="signing key", id=wanted).status_code == 404
    for page in ("keys/rotate", "keys/activate", "keys/revoke", "keys/authority/retire"):
        assert office.get(page, id=wanted).status_code == 404
        assert office.post(page, id=wanted).status_code == 404
    assert office.get("keys/show", role="<b>", id="1").status_code == 404


def test_a_leaf_is_rotated_and_revoked(world: World, office: Visitor) -> None:
    assert "No registry needs a change" in content(office.get("keys/rotate", id=1))
    assert answered(office, "keys/rotate", id=1) == "/console/keys"
    assert states(world) == [
        "authority 1 active",
        "signing key 1 retired",
        "signing key 2 active",
    ]
    assert "A new key signs at once" in content(office.get("keys/revoke", id=2))
    assert "A new key signs at once" not in content(office.get("keys/revoke", id=1))
    answered(office, "keys/revoke", id=2)
    assert states(world)[2:] == ["signing key 2 revoked", "signing key 3 active"]
    again = office.post("keys/rotate", id=1)
    assert again.status_code == 409


def test_a_registrys_own_key_is_replaced_in_two_steps(world: World, office: Visitor) -> None:
    with_own_key(world, "own")
    page = office.get("keys/show", role="signing key", id=2).text
    assert "keys/rotate" in page
    assert "keys/revoke" not in page
    answered(office, "keys/rotate", id=2)
    assert states(world)[2:] == ["signing key 2 active", "signing key 3 waiting"]
    waiting = office.get("keys/show", role="signing key", id=3).text
    assert "keys/activate" in waiting
    assert "registries/config" in waiting
    assert "Signing key 3 waits" in content(office.get("registries/show", service="own"))
    answered(office, "keys/activate", id=3)
    assert states(world)[2:] == ["signing key 2 retired", "signing key 3 active"]


def test_the_authority_is_replaced_step_by_step(world: World, office: Visitor) -> None:
    with_own_key(world, "own")
    assert due(office) == ""
    assert "No step is due" in content(office.get("keys/authority"))
    assert answered(office, "keys/authority/make") == "/console/keys/authority"
    assert due(office).startswith("Give each registry")
    page = office.get("keys/authority")
    assert f"confirm?service={SERVICE}" in page.text
    assert "confirm?service=own" not in page.text
    refused = office.post("keys/authority/activate")
    assert refused.status_code == 409
    assert "not known to trust" in content(refused)
    answered(office, "keys/authority/confirm", service=SERVICE)
    assert due(office).startswith("Activate it")
    answered(office, "keys/authority/activate")
    assert due(office).startswith("Retire")
    assert "may be in use until" in content(office.get("keys/authority"))
    refused = office.post("keys/authority/retire", id=1)
    assert refused.status_code == 409
    assert "confirmation" not in content(refused)
    answer = office.post("keys/authority/retire", {"force": "on"}, id=1)
    assert answer.status_code == 303
    assert due(office) == ""
    assert states(world)[:2] == ["authority 1 retired", "authority 2 active"]


def test_activation_can_be_forced_and_a_waiting_authority_given_up(
    world: World, office: Visitor
) -> None:
    answered(office, "keys/authority/make")
    going = office.get("keys/authority/retire", id=2)
    assert "Retire authority 2" in content(going)
    answered(office, "keys/authority/retire", id=2)
    assert states(world)[1] == "authority 2 retired"
    answered(office, "keys/authority/make")
    answer = office.post("keys/authority/activate", {"force": "on"})
    assert answer.status_code == 303
    assert states(world)[2] == "authority 3 active"


def test_what_goes_with_an_authority_is_shown(world: World, office: Visitor) -> None:
    with world.wiring.store.change("test") as change:
        authorities.confirm(change, SERVICE)
    answered(office, "keys/authority/make")
    answer = office.post("keys/authority/activate", {"force": "on"})
    assert answer.status_code == 303
    assert "1 confirmation" in content(office.get("keys/authority/retire", id=1))


CHANGING: dict[str, dict[str, Any]] = {
    "keys/rotate": {"id": 1},
    "keys/activate": {"id": 1},
    "keys/revoke": {"id": 1},
    "keys/authority/make": {},
    "keys/authority/confirm": {"service": SERVICE},
    "keys/authority/activate": {},
    "keys/authority/retire": {"id": 1},
}


@pytest.mark.parametrize("page", CHANGING)
def test_step_up_skipped_no_key_changes(world: World, office: Visitor, page: str) -> None:
    with world.wiring.store.append() as session:
        now = world.wiring.store.time(session)
        old = now - console_sessions.FRESH - timedelta(seconds=1)
        session.execute(update(ConsoleSessionRow).values(proved_at=old))
    before = states(world)
    for answer in (office.get(page, **CHANGING[page]), office.post(page, **CHANGING[page])):
        assert answer.status_code == 303
        assert answer.location.startswith("/console/confirm?next=%2Fconsole%2Fkeys")
    assert states(world) == before
    office.post("confirm", {"password": PASSWORD})
    assert office.get(page, **CHANGING[page]).status_code == 200


@pytest.mark.parametrize("page", [*CHANGING, "keys", "keys/bundle", "keys/authority", "keys/show"])
def test_others_do_nothing_and_only_auditors_read(world: World, page: str) -> None:
    for name in ("alice", "vera"):
        world.user(name)
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "vera", auditor=True)
    world.wiring.state.refresh()
    before = states(world)
    for name in ("alice", "vera"):
        visitor = Visitor(world)
        visitor.log_in(name)
        query: dict[str, Any] = CHANGING.get(
            page, {"role": "signing key", "id": 1} if "show" in page else {}
        )
        answer = visitor.get(page, **query)
        assert answer.status_code == (200 if name == "vera" and page not in CHANGING else 403)
        if name == "vera" and page not in CHANGING:
            offered = [each for each in CHANGING if f"{each}?" in answer.text]
            assert not offered
            assert "keys/authority/make" not in answer.text
        if page in CHANGING:
            assert visitor.post(page, **query).status_code == 403
    assert states(world) == before

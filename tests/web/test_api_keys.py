"""The admin API of keys, authorities, header modes, and the examination of registries."""

from typing import Any

import jwt
import pytest

from authserver.core.signatures import HeaderMode, KeyType
from authserver.db import lookup
from authserver.keys import authorities, registry_keys
from authserver.keys.authorities import Sighting
from authserver.keys.keyring import make_own
from authserver.registry import config_section, entries
from authserver.web.api import registry_checks
from tests.programs import free_port
from tests.web.test_api import call, got, last_change, tag
from tests.world import SERVICE, World

PATH = f"/registries/{SERVICE}"
ANYHOW = {"If-Match": "*"}


def post(world: World, path: str, status: int, body: dict[str, Any] | None = None) -> Any:
    return call(world, "POST", path, status=status, json=body or {}).json


def header(world: World, service: str = SERVICE) -> dict[str, Any]:
    """Return the header of a token that is issued now."""
    answer = world.get(f"service={service}").json
    assert answer is not None
    return jwt.get_unverified_header(answer["token"])


def states(world: World) -> list[str]:
    return [f"{key['role']} {key['id']} {key['state']}" for key in got(world, "/keys")["items"]]


# Header modes.


def test_a_new_registry_has_the_key_that_its_header_mode_needs(world: World) -> None:
    terms = {"header_mode": "libtrust", "key_type": "rsa-2048", "version": "2.8"}
    made = call(world, "PUT", "/registries/other", status=201, json=terms).json
    assert made is not None
    assert (made["header_mode"], made["own_key"], made["waiting_key"]) == ("libtrust", 2, None)
    assert header(world, "other")["alg"] == "RS256"
    call(world, "PUT", "/registries/other", status=200, json=terms)
    assert states(world)[-1] == "signing key 2 active"


def test_another_header_mode_waits_and_is_activated(world: World) -> None:
    said = {"header_mode": "rfc7638"}
    changed = call(world, "PATCH", PATH, status=200, json=said, headers=tag(world, PATH)).json
    assert changed is not None
    assert (changed["own_key"], changed["waiting_key"]) == (None, 2)
    assert "x5c" in header(world)
    assert post(world, "/keys/2/activate", 200)["signs"] is True
    assert "x5c" not in header(world)
    assert got(world, PATH)["own_key"] == 2
    call(world, "PATCH", PATH, status=200, json={"header_mode": "x5c"}, headers=ANYHOW)
    assert "x5c" in header(world)


@pytest.mark.parametrize(
    "terms",
    [
        {"trust": "jwks"},
        {"header_mode": "rfc7638", "version": "2.8"},
        {"key_type": "rsa-2048"},
        {"url": "https://[1]"},
        {"url": "https://registry.example.com:99999"},
    ],
)
def test_what_cannot_work_is_refused(world: World, terms: dict[str, Any]) -> None:
    call(world, "PATCH", PATH, status=409, json=terms, headers=ANYHOW)
    call(world, "PUT", "/registries/other", status=409, json=terms)
    call(world, "GET", "/registries/other", status=404)


@pytest.mark.parametrize("url", ["registry.example.com", "ftp://h", "https://u:p@h", "https://h/p"])
def test_what_is_no_url_of_a_registry_is_invalid(world: World, url: str) -> None:
    call(world, "PATCH", PATH, status=422, json={"url": url}, headers=ANYHOW)


def test_another_edit_leaves_an_imported_key_alone(world: World) -> None:
    store, safe = world.wiring.store, world.wiring.state.safe
    with store.change("test") as change:
        row = entries.edit(change, SERVICE)
        pair = make_own(SERVICE, KeyType.RSA2048, change.at)
        made = registry_keys.bring(change, safe, row, HeaderMode.X5C, pair.certificate, pair)
        registry_keys.activate(change, row, made.id)
    call(world, "PATCH", PATH, status=200, json={"token_ttl": 100}, headers=ANYHOW)
    assert header(world)["alg"] == "RS256"
    assert "x5c" in header(world)


# Signing keys.


def test_the_signing_key_is_rotated_once_for_two_who_ask(world: World) -> None:
    before = header(world)["kid"]
    assert post(world, "/keys/1/rotate", 200)["id"] == 2
    assert header(world)["kid"] != before
    assert "not any more" in post(world, "/keys/1/rotate", 409)["detail"]
    assert states(world) == ["authority 1 active", "signing key 1 retired", "signing key 2 active"]
    assert last_change(world)["actor"] == "account:admin"


def test_an_own_key_is_rotated_in_two_steps(world: World) -> None:
    call(world, "PUT", "/registries/other", status=201, json={"header_mode": "libtrust"})
    before = header(world, "other")["kid"]
    following = post(world, "/keys/2/rotate", 200)
    assert (following["state"], following["registry"]) == ("waiting", "other")
    assert header(world, "other")["kid"] == before
    post(world, "/keys/3/activate", 200)
    assert header(world, "other")["kid"] != before


def test_a_revoked_key_signs_no_more(world: World) -> None:
    before = header(world)["kid"]
    assert post(world, "/keys/1/revoke", 200)["state"] == "revoked"
    assert header(world)["kid"] != before
    assert before not in world.client.get("/.well-known/jwks.json").text
    post(world, "/keys/1/revoke", 409)


@pytest.mark.parametrize("path", ["/keys/9/rotate", "/keys/9/revoke", "/keys/9/activate"])
def test_what_is_not_there_is_not_found(world: World, path: str) -> None:
    post(world, path, 404)


@pytest.mark.parametrize("path", ["/keys/1/activate", "/authorities/1/activate"])
def test_what_does_not_wait_is_not_activated(world: World, path: str) -> None:
    post(world, path, 404)


# Authorities.


def test_an_authority_is_replaced(world: World) -> None:
    assert post(world, "/authorities", 201)["state"] == "waiting"
    post(world, "/authorities", 409)
    assert SERVICE in post(world, "/authorities/2/activate", 409)["detail"]
    post(world, "/authorities/1/confirm", 409, {"registry": SERVICE})
    post(world, "/authorities/2/confirm", 409, {"registry": "nowhere"})
    said = post(world, "/authorities/2/confirm", 200, {"registry": SERVICE})
    assert said == {"authority": 2, "unconfirmed": []}
    before = header(world)["kid"]
    assert post(world, "/authorities/2/activate", 200)["state"] == "active"
    assert header(world)["kid"] != before
    assert "may be in use until" in post(world, "/authorities/1/retire", 409)["detail"]
    assert post(world, "/authorities/1/retire?force=true", 200)["state"] == "retired"
    post(world, "/authorities/1/retire", 404)


def test_one_is_activated_though_a_registry_is_not_confirmed(world: World) -> None:
    post(world, "/authorities", 201)
    assert post(world, "/authorities/2/activate?force=true", 200)["id"] == 2


# Examinations.


@pytest.mark.parametrize(("service", "why"), [(SERVICE, "no url"), ("nowhere", "nowhere")])
def test_a_registry_without_a_url_is_not_examined(world: World, service: str, why: str) -> None:
    assert why in post(world, "/checks", 409, {"registry": service})["detail"]


def test_a_registry_is_examined_at_the_url_of_its_entry_and_no_other(world: World) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    call(world, "PATCH", PATH, status=200, json={"url": url}, headers=ANYHOW)
    found = post(world, "/checks", 200, {"registry": SERVICE})
    assert (found["url"], found["healthy"]) == (url, False)
    assert [f["check"] for f in found["findings"] if f["status"] == "failed"] == [
        "registry.reachable"
    ]
    call(world, "POST", "/checks", status=422, json={"registry": SERVICE, "url": url})


def test_the_last_check_is_kept_with_its_record(world: World) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    call(world, "PATCH", PATH, status=200, json={"url": url}, headers=ANYHOW)
    assert got(world, PATH)["last_check"] is None
    call(world, "GET", f"/checks/{SERVICE}", status=404)
    seen_before = tag(world, PATH)
    found = post(world, "/checks", 200, {"registry": SERVICE})
    last = got(world, PATH)["last_check"]
    assert (last["healthy"], last["failed"], last["by"]) == (False, 1, "account:admin")
    assert got(world, "/registries")["items"][0]["last_check"] == last
    assert tag(world, PATH) == seen_before, "nobody's edit rests on it"
    (failed,) = (f for f in found["findings"] if f["status"] == "failed")
    whole = got(world, f"/checks/{SERVICE}")
    assert whole == last | {
        "url": url,
        "findings": [{name: failed[name] for name in ("check", "why", "cure")}],
    }
    record = last_change(world)
    assert (record["action"], record["target"]) == ("registry.check", f"registry:{SERVICE}")
    assert record["after"] == {"url": url, "healthy": False, "failed": ["registry.reachable"]}


def test_another_url_is_not_checked_yet(world: World) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    call(world, "PATCH", PATH, status=200, json={"url": url}, headers=ANYHOW)
    post(world, "/checks", 200, {"registry": SERVICE})
    call(world, "PATCH", PATH, status=200, json={"token_ttl": 900}, headers=ANYHOW)
    assert got(world, PATH)["last_check"] is not None
    call(world, "PATCH", PATH, status=200, json={"url": "http://127.0.0.1:1"}, headers=ANYHOW)
    assert got(world, PATH)["last_check"] is None


def test_one_registry_is_examined_at_a_time(world: World) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    call(world, "PATCH", PATH, status=200, json={"url": url}, headers=ANYHOW)
    with registry_checks._alone():
        assert "try again" in post(world, "/checks", 409, {"registry": SERVICE})["detail"]
    post(world, "/checks", 200, {"registry": SERVICE})


def test_what_was_seen_is_noted_when_it_is_news(world: World) -> None:
    def noted(trusted: set[int], absent: set[int]) -> str:
        seen = Sighting(frozenset(trusted), frozenset(absent))
        with world.wiring.store.change("test") as change:
            said = authorities.news(change.session, SERVICE, seen)
            authorities.note(change, SERVICE, seen)
        return said

    seen_before = tag(world, PATH)
    assert noted({1}, set()) == f"{SERVICE} trusts authority 1"
    assert noted({1}, set()) == ""
    assert tag(world, PATH) == seen_before, "nobody's edit rests on it"
    post(world, "/authorities", 201)
    # Another one than the newest is no news.
    assert noted({1}, {2}) == ""
    assert noted({1, 2}, set()) == f"{SERVICE} trusts authority 2"
    assert got(world, PATH)["confirmed_authority"] == 2
    assert noted({1}, {2}) == f"{SERVICE} does not trust authority 2 any more"
    post(world, "/authorities/2/activate", 409)
    noted({1, 2}, set())
    post(world, "/authorities/2/activate", 200)


# The section for the registry's own configuration.


def ask(world: World, query: dict[str, str]) -> Any:
    return call(world, "GET", "/registry-config", status=200, query_string=query).json


@pytest.mark.parametrize("service", [SERVICE, "a/check", "own"])
def test_a_section_is_the_commands(world: World, service: str) -> None:
    if service != SERVICE:
        mode = {"header_mode": "rfc7638", "trust": "jwks"} if service == "own" else {}
        call(world, "PUT", f"/registries/{service}", status=201, json=mode)
    answer = ask(world, {"registry": service})
    with world.wiring.store.read() as session:
        section = config_section.of(
            session, lookup.registry(session, service), world.wiring.settings, world.wiring.store
        )
    assert answer == section.as_json()
    assert f'service: "{service}"' in answer["section"]
    assert [file["option"] for file in answer["files"]] == [
        "jwks" if service == "own" else "rootcertbundle"
    ]
    assert "PRIVATE" not in str(answer)


def test_a_section_names_the_files_as_the_registry_sees_them(world: World) -> None:
    query = {"registry": SERVICE, "version": "3", "bundle_path": '/a "b"\n'}
    answer = ask(world, query)
    assert answer["files"][0]["path"] == '/a "b"\n'
    assert 'rootcertbundle: "/a \\"b\\"\\n"' in answer["section"]
    assert 'signingalgorithms: ["ES256"]' in answer["section"]
    for wrong, status in (({"registry": "none"}, 409), ({}, 422), (query | {"version": "1"}, 422)):
        call(world, "GET", "/registry-config", status=status, query_string=wrong)

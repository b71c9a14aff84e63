"""The JWKS and the bundle at their URLs."""

import json
from typing import Any

import jwt
import pytest
from cryptography import x509

from authserver.core.signatures import HeaderMode, KeyType
from authserver.keys import registry_keys, signing_keys
from authserver.registry import entries
from tests.world import World

JWKS, BUNDLE = "/.well-known/jwks.json", "/bundle.pem"


def own_key(world: World, service: str, mode: HeaderMode) -> None:
    with world.wiring.store.change("test") as change:
        row = entries.add(change, service)
        made = registry_keys.add(change, world.wiring.state.safe, row, mode, KeyType.RSA2048)
        registry_keys.activate(change, row, made.id)
    world.wiring.state.refresh()


def jwks(world: World, query: str = "") -> dict[str, Any]:
    response = world.client.get(JWKS + query)
    assert response.status_code == 200
    return {entry["kid"]: entry for entry in json.loads(response.text)["keys"]}


def test_a_token_verifies_by_the_jwks(world: World) -> None:
    token = world.get("service=registry").json["token"]  # type: ignore[index]
    found = jwks(world)
    assert len(found) == 2
    key = jwt.PyJWK.from_dict(found[jwt.get_unverified_header(token)["kid"]])
    jwt.decode(token, key, ["ES256"], audience="registry")


@pytest.mark.parametrize("mode", [HeaderMode.LIBTRUST, HeaderMode.RFC7638])
def test_a_registry_with_a_key_of_its_own_gets_tokens_by_it(world: World, mode: HeaderMode) -> None:
    own_key(world, "other", mode)
    token = world.get("service=other").json["token"]  # type: ignore[index]
    header = jwt.get_unverified_header(token)
    assert header == {"alg": "RS256", "typ": "JWT", "kid": header["kid"]}
    assert (":" in header["kid"]) == (mode is HeaderMode.LIBTRUST)
    key = jwt.PyJWK.from_dict(jwks(world, "?service=other")[header["kid"]])
    jwt.decode(token, key, ["RS256"], audience="other")
    assert header["kid"] in jwks(world)
    assert header["kid"] not in jwks(world, "?service=registry")
    assert "x5c" in jwt.get_unverified_header(world.get("service=registry").json["token"])  # type: ignore[index]


def test_the_bundle_is_the_authority_and_the_own_key_of_the_registry(world: World) -> None:
    own_key(world, "other", HeaderMode.LIBTRUST)
    bundles = {
        query: x509.load_pem_x509_certificates(world.client.get(BUNDLE + query).data)
        for query in ("", "?service=registry", "?service=other")
    }
    assert bundles[""] == bundles["?service=registry"]
    assert len(bundles[""]) == 1
    assert bundles["?service=other"][1:] == bundles[""]


def test_an_unknown_service_is_not_found(world: World) -> None:
    for path in (JWKS, BUNDLE):
        assert world.client.get(f"{path}?service=nowhere").status_code == 404


@pytest.mark.parametrize("path", [JWKS, BUNDLE])
def test_it_is_cacheable_until_a_key_changes(world: World, path: str) -> None:
    first = world.client.get(path)
    assert "public" in first.headers["Cache-Control"]
    assert "max-age=300" in first.headers["Cache-Control"]
    tag = {"If-None-Match": first.headers["ETag"]}
    again = world.client.get(path, headers=tag)
    assert (again.status_code, again.data) == (304, b"")
    world.user("alice")
    assert world.client.get(path, headers=tag).status_code == 304
    with world.wiring.store.change("test") as change:
        signing_keys.rotate(change, world.wiring.state.safe)
    world.wiring.state.refresh()
    # The authority stays as it is, and so does the bundle.
    assert world.client.get(path, headers=tag).status_code == (200 if path == JWKS else 304)


@pytest.mark.parametrize("path", [JWKS, BUNDLE])
def test_only_reading_is_possible(world: World, path: str) -> None:
    assert world.client.head(path).status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        assert world.client.open(path, method=method).status_code == 405

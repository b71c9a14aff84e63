"""The token endpoint: the answers table of the design, row by row."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from structlog.testing import capture_logs

from authserver.web.app import create_app
from tests.web.answers import error_of
from tests.world import ADMIN, PASSWORD, SERVICE, Clock, World

PATHS = ("/token", "/token/", "/auth/token", "/auth/token/")
ALICE = ("alice", PASSWORD)


def scopes(*values: str, service: str = SERVICE) -> str:
    return urlencode([("service", service), *(("scope", value) for value in values)])


def body_of(world: World, query: str, auth: tuple[str, str] | None = None) -> dict[str, Any]:
    response = world.get(query, auth=auth)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = json.loads(response.text)
    return body


@pytest.mark.parametrize(
    "query", ["service=registry", "service=registry&scope=", "service=registry&scope=&scope=+", ""]
)
def test_login_without_scope_gets_an_empty_grant(shared: World, query: str) -> None:
    response = shared.get(query, auth=(ADMIN, PASSWORD))
    assert response.status_code == 200
    assert shared.claims(response)["access"] == []


def test_what_is_granted_is_what_was_asked_and_is_allowed(shared: World) -> None:
    asked = scopes(
        "repository:team/app:pull,push,delete",  # partly
        "repository:other/app:pull",  # not at all: left out
        "repository:public/app:pull,push",  # what anybody may
        "repository:trash/old:push",
    )
    assert shared.granted(asked, auth=ALICE) == {
        "repository:team/app": ["pull", "push"],
        "repository:public/app": ["pull"],
    }


def test_a_request_for_push_alone_is_answered_with_push_alone(shared: World) -> None:
    granted = shared.granted(scopes("repository:team/app:push"), auth=ALICE)
    assert granted == {"repository:team/app": ["push"]}


def test_denied_is_no_error(shared: World) -> None:
    assert shared.granted(scopes("repository:other/app:pull"), auth=ALICE) == {}


def test_anonymous_gets_what_anonymous_may_do(shared: World) -> None:
    response = shared.get(scopes("repository:public/a:pull,push", "repository:team/a:pull"))
    claims = shared.claims(response)
    assert claims["sub"] == ""
    assert claims["access"] == [{"type": "repository", "name": "public/a", "actions": ["pull"]}]


@pytest.mark.parametrize("account", ["alice", "nobody", "", "a:b"])
def test_an_account_parameter_without_credentials_is_ignored(shared: World, account: str) -> None:
    query = scopes("repository:team/a:pull") + "&" + urlencode({"account": account})
    claims = shared.claims(shared.get(query))
    assert (claims["sub"], claims["access"]) == ("", [])


def test_the_subject_is_the_authenticated_account(shared: World) -> None:
    response = shared.get("service=registry&account=alice", auth=ALICE)
    assert shared.claims(response)["sub"] == "alice"


@pytest.mark.parametrize(
    "accounts", [["admin"], ["Alice"], ["alice "], ["alice", "admin"], ["nobody"]]
)
def test_another_account_than_the_authenticated_one_is_refused(
    shared: World, accounts: list[str]
) -> None:
    query = urlencode([("service", SERVICE), *(("account", name) for name in accounts)])
    error_of(shared.get(query, auth=ALICE), 401)


@pytest.mark.parametrize(
    "asked",
    [
        "repository:team/a:*",
        "repository:team/a:*,pull",
        "repository:team/a:pull,push,delete,*",
    ],
)
def test_a_star_becomes_the_granted_actions(shared: World, asked: str) -> None:
    granted = shared.granted(scopes(asked), auth=ALICE)
    assert granted == {"repository:team/a": ["pull", "push"]}


def test_a_star_is_granted_only_where_nothing_is_taken_away(world: World) -> None:
    everything = ["pull", "push", "delete", "*"]
    asked = scopes("repository:free/a:*", "repository:kept/a:*")
    auth = (ADMIN, PASSWORD)
    assert world.granted(asked, auth=auth) == {
        "repository:free/a": everything,
        "repository:kept/a": everything,
    }
    world.deny("everyone", "kept/*", "delete")
    assert world.granted(asked, auth=auth) == {
        "repository:free/a": everything,
        "repository:kept/a": ["pull", "push"],
    }


def test_the_catalog_needs_its_own_rule(populated: World) -> None:
    populated.allow("user:alice", "**", "all")
    asked = scopes("registry:catalog:*")
    assert populated.granted(asked, auth=ALICE) == {}
    assert populated.granted(asked, auth=(ADMIN, PASSWORD)) == {"registry:catalog": ["*"]}


@pytest.mark.parametrize(
    "hopeless",
    [
        "repository",
        "repository:team/a",
        "repository::pull",
        ":team/a:pull",
        "REPOSITORY:team/a:pull",
        "repository(plugin:team/a:pull",
        "magic:team/a:pull",
        "registry:other:*",
        "repository:team/a:",
        "repository:team/a:fly",
        "repository:team/a:Pull",
        "repository:team/A:pull",
        "repository:team/../a:pull",
        "repository:team//a:pull",
        "repository:team/a/:pull",
        "repository:team/" + "a" * 260 + ":pull",
        "repository:team/a\t:pull",
        "repository:team/ä:pull",
        "repository:team/a\x00:pull",
        "repository:team/a:pull\nrepository:team/b:pull",
        "::",
        "repository:teamx/a:pull",
        "repository:team:pull",
    ],
)
def test_a_hopeless_scope_grants_nothing_and_touches_no_other(shared: World, hopeless: str) -> None:
    good = "repository:team/good:pull"
    for asked in ([hopeless, good], [good, hopeless], [f"{hopeless} {good}"]):
        assert shared.granted(scopes(*asked), auth=ALICE) == {"repository:team/good": ["pull"]}
    assert shared.granted(scopes(hopeless), auth=ALICE) == {}


def test_unknown_actions_are_dropped_from_a_scope(shared: World) -> None:
    granted = shared.granted(scopes("repository:team/a:fly,,pull,swim"), auth=ALICE)
    assert granted == {"repository:team/a": ["pull"]}


@pytest.mark.parametrize(
    "asked",
    [
        ["repository:team/a:pull", "repository:team/a:push", "repository:public/b:pull"],
        ["repository:team/a:pull repository:team/a:push repository:public/b:pull"],
        ["repository:team/a:push,pull", "repository:public/b:pull repository:team/a:pull"],
        ["repository:public/b:pull", "  repository:team/a:pull  repository:team/a:push,pull "],
        ["repository:team/a:pull,push", "", "repository:public/b:pull"] * 3,
        ["repository:team/a:pull,push,pull,push", "repository:public/b:pull,pull"],
    ],
)
def test_scopes_come_repeated_and_space_separated_in_any_order_and_twice(
    shared: World, asked: list[str]
) -> None:
    response = shared.get(scopes(*asked), auth=ALICE)
    entries = shared.claims(response)["access"]
    assert sorted(entries, key=lambda entry: str(entry["name"])) == [
        {"type": "repository", "name": "public/b", "actions": ["pull"]},
        {"type": "repository", "name": "team/a", "actions": ["pull", "push"]},
    ]


def test_a_class_is_read_and_left_out(shared: World) -> None:
    asked = scopes("repository(plugin):team/a:pull", "repository:team/a:push")
    (entry,) = shared.claims(shared.get(asked, auth=ALICE))["access"]
    assert entry == {"type": "repository", "name": "team/a", "actions": ["pull", "push"]}


def test_a_host_with_a_port_belongs_to_the_name(shared: World) -> None:
    granted = shared.granted(scopes("repository:Host:5000/a:pull"), auth=(ADMIN, PASSWORD))
    assert granted == {"repository:Host:5000/a": ["pull"]}


@pytest.mark.parametrize(("service", "status"), [("registry", 200), ("Registry", 400)])
def test_the_service_is_matched_exactly(shared: World, service: str, status: int) -> None:
    assert shared.get(f"service={service}", auth=(ADMIN, PASSWORD)).status_code == status


@pytest.mark.parametrize("auth", [None, (ADMIN, PASSWORD)])
def test_an_unknown_service_is_a_bad_request_and_never_echoed(
    shared: World, auth: tuple[str, str] | None
) -> None:
    assert "sesame" not in error_of(shared.get("service=sesame", auth=auth), 400)


@pytest.mark.parametrize("query", ["", "service="])
def test_a_missing_service_is_the_only_registry_there_is(world: World, query: str) -> None:
    assert world.claims(world.get(query))["aud"] == SERVICE
    world.registry("other")
    assert "service" in error_of(world.get(query), 400)


@pytest.mark.parametrize("query", ["service=registry&service=registry", "service=&service="])
def test_a_repeated_service_is_a_bad_request(shared: World, query: str) -> None:
    error_of(shared.get(query), 400)


def test_a_rule_on_one_registry_says_nothing_about_another(world: World) -> None:
    world.registry("other")
    world.user("alice")
    world.allow("user:alice", "a", "pull", service="other")
    for service, granted in (("other", {"repository:a": ["pull"]}), (SERVICE, {})):
        assert world.granted(scopes("repository:a:pull", service=service), auth=ALICE) == granted


def test_200_scopes_are_answered_and_201_are_not(shared: World) -> None:
    many = [f"repository:a{number}:pull" for number in range(201)]
    granted = shared.granted(scopes(*many[:200]), auth=(ADMIN, PASSWORD))
    assert len(granted) == 200
    error_of(shared.get(scopes(*many), auth=(ADMIN, PASSWORD)), 400)
    error_of(shared.get(scopes(" ".join(many))), 400)


def test_12_kib_of_scopes_are_answered_and_a_byte_more_is_not(shared: World) -> None:
    most = 12 * 1024
    assert shared.get(scopes("a" * most)).status_code == 200
    error_of(shared.get(scopes("a" * (most + 1))), 400)
    error_of(shared.get(scopes("a" * most, "a")), 400)
    error_of(shared.get(scopes("ä" * (most // 2) + "a")), 400)


def test_where_several_errors_meet_the_first_in_the_order_answers(shared: World) -> None:
    size, number = {"scope": "a" * 13_000}, {"scope": "a " * 201}
    service, account = {"service": "other"}, {"account": "other"}
    wrong, right = (ADMIN, "wrong"), (ADMIN, PASSWORD)

    def message(auth: tuple[str, str], status: int, *wrongs: dict[str, str]) -> str:
        query = urlencode([pair for one in wrongs for pair in one.items()])
        return error_of(shared.get(query, auth=auth), status)

    assert shared.client.put("/token", query_string=size).status_code == 405
    assert "bytes" in message(wrong, 400, size, service, account)
    assert "password" in message(wrong, 401, service, account, number)
    assert "service" in message(right, 400, service, account, number)
    assert "password" in message(right, 401, account, number)
    assert "scopes" in message(right, 400, number)


def test_malformed_credentials_are_answered_before_a_repeated_service(shared: World) -> None:
    headers = {"Authorization": "Bearer x"}
    error_of(shared.get("service=a&service=b", headers=headers), 401)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_answers_alike_and_never_redirects(shared: World, path: str) -> None:
    response = shared.client.get(path, query_string="service=registry")
    assert response.status_code == 200
    assert "Location" not in response.headers
    assert shared.claims(response)["sub"] == ""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "FOO"])
def test_another_method_is_not_allowed(shared: World, path: str, method: str) -> None:
    response = shared.client.open(path, method=method)
    assert response.status_code == 405
    assert sorted(response.headers["Allow"].split(", ")) == ["GET", "POST"]
    if method != "HEAD":
        error_of(response, 405)


@pytest.mark.parametrize(
    "path", ["/nothing", "/token/x", "/token//", "/Token", "/v2/", "/livez/", "/%ff", "/a%00"]
)
def test_an_unknown_path_is_not_found_in_json(shared: World, path: str) -> None:
    response = shared.client.get(path)
    error_of(response, 404)
    assert "Location" not in response.headers


def test_an_unexpected_error_is_answered_in_json_and_tells_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("sesame")

    monkeypatch.setattr("authserver.auth.authorization.decide", broken)
    with capture_logs() as logged:
        response = world.get(scopes("repository:a:pull"))
    error_of(response, 500)
    assert "sesame" not in response.text
    assert "Traceback" not in response.text
    assert [line["event"] for line in logged] == ["token refused", "unexpected error"]


def test_the_body_of_a_success(shared: World) -> None:
    body = body_of(shared, "service=registry&client_id=docker", auth=(ADMIN, PASSWORD))
    assert body.keys() == {"token", "access_token", "expires_in", "issued_at"}
    assert body["token"] == body["access_token"]
    assert type(body["expires_in"]) is int
    assert body["issued_at"].endswith("Z")
    issued = datetime.fromisoformat(body["issued_at"])
    assert issued.timestamp() == shared.verified(body["token"])["iat"]


@pytest.mark.parametrize(
    ("query", "auth"),
    [
        ("", (ADMIN, PASSWORD)),
        ("offline_token=false", (ADMIN, PASSWORD)),
        ("offline_token=true&access_type=offline", None),
    ],
)
def test_no_refresh_token_is_sent_unasked_or_to_anonymous(
    shared: World, query: str, auth: tuple[str, str] | None
) -> None:
    assert "refresh_token" not in body_of(shared, query, auth)


def test_a_token_is_never_cached(shared: World) -> None:
    response = shared.get("service=registry")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.mimetype == "application/json"


def test_the_claims(shared: World) -> None:
    now = datetime.now(UTC).replace(microsecond=999_999)
    issuer = replace(shared.wiring.issuer, clock=Clock(now))
    client = create_app(replace(shared.wiring, issuer=issuer)).test_client()
    response = World(shared.wiring, client).get("service=registry", auth=(ADMIN, PASSWORD))
    claims = shared.claims(response)
    seconds = int(now.timestamp())
    assert claims.pop("jti")
    assert claims == {
        "iss": "authserver",
        "sub": ADMIN,
        "aud": SERVICE,
        "exp": seconds + 300,
        "nbf": seconds - 30,
        "iat": seconds,
        "access": [],
    }
    assert [type(claims[name]) for name in ("exp", "nbf", "iat")] == [int, int, int]
    body: Any = response.json
    assert body["expires_in"] == 300
    assert body["issued_at"] == now.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_header_of_a_token(shared: World) -> None:
    header = jwt.get_unverified_header(body_of(shared, "")["token"])
    assert (header["alg"], header["typ"], len(header["x5c"])) == ("ES256", "JWT", 1)


def test_no_two_tokens_share_an_id(shared: World) -> None:
    ids = {shared.claims(shared.get())["jti"] for _ in range(50)}
    assert len(ids) == 50
    assert all(len(jti) >= 16 for jti in ids)


def test_a_registry_has_its_own_token_life(world: World) -> None:
    world.registry("slow", token_ttl=900)
    for service, ttl in ((SERVICE, 300), ("slow", 900)):
        body = body_of(world, f"service={service}")
        claims = world.verified(body["token"])
        assert (body["expires_in"], claims["exp"] - claims["iat"]) == (ttl, ttl)
        assert claims["aud"] == service


def test_a_token_with_200_entries_stays_below_what_clients_read(shared: World) -> None:
    many = [f"repository:team/sub/application-{number:03}:pull,push" for number in range(200)]
    response = shared.get(scopes(*many), auth=(ADMIN, PASSWORD))
    assert len(shared.claims(response)["access"]) == 200
    assert len(response.data) < 64 * 1024


def test_a_changed_rule_is_in_force_for_the_next_token(populated: World) -> None:
    asked = scopes("repository:team/a:pull")
    assert populated.granted(asked, auth=ALICE) != {}
    populated.deny("user:alice", "team/a", "pull")
    assert populated.granted(asked, auth=ALICE) == {}


def test_a_group_gives_and_takes_for_its_members(world: World) -> None:
    world.user("alice")
    world.group("dev", "alice")
    world.allow("group:dev", "dev/*", "pull,push")
    world.allow("authenticated", "shared/*", "pull")
    world.deny("group:dev", "shared/secret", "pull")
    asked = scopes(
        "repository:dev/a:push", "repository:shared/a:pull", "repository:shared/secret:*"
    )
    assert world.granted(asked, auth=ALICE) == {
        "repository:dev/a": ["push"],
        "repository:shared/a": ["pull"],
    }


def test_a_placeholder_is_the_asking_accounts_name(world: World) -> None:
    world.user("alice")
    world.user("bob")
    world.allow("authenticated", "home/{account}", "pull,push")
    asked = scopes("repository:home/alice:pull", "repository:home/bob:pull")
    assert world.granted(asked, auth=ALICE) == {"repository:home/alice": ["pull"]}
    assert world.granted(asked) == {}


@pytest.mark.parametrize("auth", [None, (ADMIN, PASSWORD)])
def test_nothing_is_issued_from_a_state_that_is_too_old(
    world: World, auth: tuple[str, str] | None
) -> None:
    cache = world.wiring.state
    assert world.get(auth=auth).status_code == 200
    read_at, most = cache.current.read_at, world.wiring.settings.max_staleness
    cache.monotonic = lambda: read_at + most - 0.1
    assert world.get(auth=auth).status_code == 200
    cache.monotonic = lambda: read_at + most + 0.1
    response = world.get(auth=auth)
    error_of(response, 503)
    for detail in ("store", "sqlite", str(world.wiring.settings.data_dir)):
        assert detail not in response.text
    cache.refresh()
    assert world.get(auth=auth).status_code == 200


def test_an_expired_signing_key_signs_nothing(shared: World) -> None:
    expired = Clock(shared.wiring.state.current.signer.not_after + timedelta(seconds=1))
    issuer = replace(shared.wiring.issuer, clock=expired)
    client = create_app(replace(shared.wiring, issuer=issuer)).test_client()
    response = World(shared.wiring, client).get()
    error_of(response, 503)
    assert "key" not in response.text


def test_bytes_that_are_no_text_are_no_fault_of_ours(shared: World) -> None:
    raw = {"QUERY_STRING": "service=registry&scope=repository:a\xff:pull"}
    assert shared.client.get("/token", environ_overrides=raw).status_code == 200


def test_each_answer_has_its_own_request_id(shared: World) -> None:
    answers = [shared.get(), shared.get(), shared.get("service=x"), shared.client.get("/nothing")]
    assert len({answer.headers["X-Request-Id"] for answer in answers} - {""}) == 4

"""Credentials at the token endpoint: everything that is not good is refused alike."""

import base64
import secrets
import unicodedata

import pytest
from werkzeug.test import TestResponse

from authserver.auth.by_app_token import AppToken
from authserver.core import secret_tokens
from authserver.core.secret_tokens import Prefix
from authserver.db import accounts
from authserver.web import token
from tests.web.answers import refused
from tests.world import ADMIN, PASSWORD, World, basic

GOOD = basic(ADMIN, PASSWORD)
PAIR = f"{ADMIN}:{PASSWORD}".encode()


def encoded(pair: bytes) -> str:
    return "Basic " + base64.b64encode(pair).decode()


def send(world: World, header: str) -> TestResponse:
    """Send a header as WSGI hands it over, bytes as Latin-1."""
    return world.get("service=registry", environ_overrides={"HTTP_AUTHORIZATION": header})


MALFORMED = {
    "empty": "",
    "repeated": f"{GOOD},{GOOD}",
    "repeated, with a space": f"{GOOD}, {GOOD}",
    "repeated, the first empty": f",{GOOD}",
    "repeated, the last empty": f"{GOOD},",
    "bearer": "Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln",
    "digest": 'Digest username="admin"',
    "no scheme": GOOD.removeprefix("Basic "),
    "scheme alone": "Basic",
    "scheme and a space": "Basic ",
    "tab after the scheme": GOOD.replace(" ", "\t"),
    "no space after the scheme": GOOD.replace(" ", ""),
    "not base64": "Basic ***",
    "no padding": GOOD.rstrip("="),
    "too much padding": GOOD + "=",
    "padding inside": "Basic YWRt=aW46",
    "url-safe base64": "Basic " + base64.urlsafe_b64encode("admin:ÿþ?>".encode()).decode(),
    "white space inside": GOOD[:12] + " " + GOOD[12:],
    "tab inside": GOOD[:12] + "\t" + GOOD[12:],
    "line break inside": GOOD[:12] + "\n" + GOOD[12:],
    "quoted": GOOD.replace(" ", ' "') + '"',
    "a parameter": GOOD + "; charset=UTF-8",
    "Latin-1 bytes": "Basic é",
    "Latin-1 in the credentials": encoded(f"{ADMIN}:é".encode("latin-1")),
    "UTF-16": encoded(PAIR.decode().encode("utf-16")),
    "no colon": encoded(ADMIN.encode()),
    "nothing": encoded(b""),
    "empty password": encoded(f"{ADMIN}:".encode()),
    "empty user": encoded(f":{PASSWORD}".encode()),
    "empty user and password": encoded(b":"),
    "token user": encoded(f"<token>:{PASSWORD}".encode()),
}


@pytest.mark.parametrize("header", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_header_is_refused_as_a_wrong_password_is(shared: World, header: str) -> None:
    assert refused(send(shared, header)) == refused(shared.get(auth=(ADMIN, "wrong")))


def test_all_failed_credentials_get_one_and_the_same_body(world: World) -> None:
    world.user("alice")
    world.user("gone")
    world.disable("gone")
    with world.wiring.store.change("test") as change:
        accounts.add_user(change, "fresh", None)
    world.wiring.state.refresh()
    bodies = {
        refused(world.get(query, auth=auth))
        for query, auth in (
            ("", (ADMIN, "wrong")),
            ("", ("nobody", PASSWORD)),
            ("", ("gone", PASSWORD)),
            ("", ("fresh", PASSWORD)),
            ("", (ADMIN, "x" * 100)),
            ("account=alice", (ADMIN, PASSWORD)),
            ("service=unknown", (ADMIN, "wrong")),
            ("scope=repository:a:pull&offline_token=true", (ADMIN, "wrong")),
        )
    } | {refused(send(world, "Bearer x"))}
    assert len(bodies) == 1


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc"])
@pytest.mark.parametrize("path", ["/token", "/token/", "/auth/token", "/auth/token/"])
def test_the_schemes_case_is_free(shared: World, scheme: str, path: str) -> None:
    headers = {"Authorization": GOOD.replace("Basic", scheme)}
    assert shared.claims(shared.client.get(path, headers=headers))["sub"] == ADMIN


@pytest.mark.parametrize(
    "name", ["Admin", "ADMIN", "admin ", " admin", "ad", "admin\x00", "admi%6e"]
)
def test_names_are_matched_exactly(shared: World, name: str) -> None:
    refused(shared.get(auth=(name, PASSWORD)))


@pytest.mark.parametrize(
    "password",
    [
        PASSWORD.upper(),
        PASSWORD + " ",
        " " + PASSWORD,
        PASSWORD[:-1],
        PASSWORD + "\n",
        PASSWORD + "x" * 72,
        "x",
        "\x00",
        "ß",
    ],
)
def test_only_the_password_itself_is_right(shared: World, password: str) -> None:
    refused(shared.get(auth=(ADMIN, password)))


def test_the_whole_of_a_long_password_counts(world: World) -> None:
    world.user("long", "x" * 72)
    assert world.get(auth=("long", "x" * 72)).status_code == 200
    for wrong in ("x" * 71, "x" * 73, "x" * 71 + "y"):
        refused(world.get(auth=("long", wrong)))


@pytest.mark.parametrize(
    "password", [":", "a:b:c", "::", "pass:", "ünï:çødé", "пароль", "🔑🔑", "e\u0301"]
)
def test_passwords_may_hold_colons_and_any_language(world: World, password: str) -> None:
    world.user("alice", password)
    for form in ("NFC", "NFD"):
        shown = unicodedata.normalize(form, password)
        assert world.get(auth=("alice", shown)).status_code == 200
    refused(world.get(auth=("alice", password + ":")))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_the_same_in_both_normal_forms(world: World, form: str) -> None:
    world.user("müller")
    name = unicodedata.normalize(form, "müller")  # type: ignore[arg-type]
    response = world.client.get(
        "/token", query_string={"account": name}, headers={"Authorization": basic(name, PASSWORD)}
    )
    assert world.claims(response)["sub"] == "müller"


def test_a_disabled_account_is_refused_at_once_although_its_password_is_remembered(
    world: World,
) -> None:
    world.user("alice")
    assert world.get(auth=("alice", PASSWORD)).status_code == 200
    world.disable("alice")
    refused(world.get(auth=("alice", PASSWORD)))
    world.disable("alice", disabled=False)
    assert world.get(auth=("alice", PASSWORD)).status_code == 200


def test_an_account_that_is_made_again_inherits_nothing(world: World) -> None:
    world.user("alice")
    world.group("dev", "alice")
    world.allow("user:alice", "a", "pull")
    world.allow("group:dev", "b", "pull")
    asked = "scope=repository:a:pull&scope=repository:b:pull"
    assert len(world.granted(asked, auth=("alice", PASSWORD))) == 2
    with world.wiring.store.change("test") as change:
        accounts.remove(change, "alice", force=True)
    world.wiring.state.refresh()
    refused(world.get(auth=("alice", PASSWORD)))
    world.user("alice", "another")
    refused(world.get(auth=("alice", PASSWORD)))
    assert world.granted(asked, auth=("alice", "another")) == {}


def test_what_is_kept_of_app_tokens_is_bounded_and_not_the_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(token, "MAX_KNOWN_HEADERS", 3)
    for _ in range(5):
        secret = secret_tokens.make(Prefix.APP, secrets.token_bytes)
        header = basic("alice", secret)
        first, again = (token.read_authorization(header) for _ in range(2))
        assert first == again == AppToken("alice", secret_tokens.digest(secret), well_formed=True)
        assert first is again
        assert len(token._known_headers) <= 3
        assert secret not in repr(token._known_headers)
    short = token.read_authorization(basic("a", secret))
    assert short is token.read_authorization(basic("a", secret))
    kept = dict(token._known_headers)
    long = token.read_authorization(basic("a" * 400, secret))
    assert isinstance(long, AppToken)
    assert token._known_headers == kept

"""Registries that ask clients without credentials for a password, as browsers need it."""

import pytest
from werkzeug.test import TestResponse

from authserver.registry import entries
from tests.world import PASSWORD, World, basic


@pytest.fixture
def challenging(world: World) -> World:
    """A world whose registry challenges, and where everybody may pull what is public."""
    world.allow("anonymous", "public/**", "pull")
    world.user("alice")
    set_challenge(world)
    return world


def set_challenge(world: World, *, challenge: bool = True) -> None:
    with world.wiring.store.change("test") as change:
        entries.edit(change, "registry", challenge_anonymous=challenge)
    world.wiring.state.refresh()


def ask(world: World, *scopes: str, **headers: str) -> TestResponse:
    query = "&".join(["service=registry", *(f"scope={scope}" for scope in scopes)])
    return world.client.get(f"/token?{query}", headers=headers)


@pytest.mark.parametrize(
    "scopes",
    [
        ("registry:catalog:*",),
        ("repository:team/app:pull",),
        ("repository:public/app:pull,push",),
        ("repository:public/app:*",),
        ("repository:public/app:pull", "repository:team/app:pull"),
        ("repository:public/app:pull repository:team/app:pull",),
        ("repository:public/App:pull",),
        ("repository:public/app:fly",),
        ("nonsense",),
    ],
)
def test_who_is_not_granted_all_is_asked_for_a_password(
    challenging: World, scopes: tuple[str, ...]
) -> None:
    response = ask(challenging, *scopes)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Basic realm="authserver", charset="UTF-8"'
    assert "token" not in (response.json or {})
    set_challenge(challenging, challenge=False)
    assert ask(challenging, *scopes).status_code == 200


@pytest.mark.parametrize(
    "scopes",
    [
        (),
        ("",),
        ("repository:public/app:pull",),
        ("repository:public/a:pull repository:public/b:pull",),
    ],
)
def test_who_is_granted_all_gets_a_token(challenging: World, scopes: tuple[str, ...]) -> None:
    response = ask(challenging, *scopes)
    assert response.status_code == 200
    assert response.json is not None
    assert response.json["token"]


def test_with_credentials_a_denied_scope_is_an_empty_grant(challenging: World) -> None:
    head = {"Authorization": basic("alice", PASSWORD)}
    assert ask(challenging, "repository:team/app:pull", **head).status_code == 200


def test_wrong_credentials_are_answered_as_ever(challenging: World) -> None:
    head = {"Authorization": basic("alice", "wrong")}
    refused = ask(challenging, "repository:team/app:pull", **head)
    set_challenge(challenging, challenge=False)
    assert refused.data == ask(challenging, "repository:team/app:pull", **head).data


def test_a_challenge_is_no_failed_login(challenging: World) -> None:
    for _ in range(40):
        assert ask(challenging, "repository:team/app:pull").status_code == 401
    assert ask(challenging, Authorization=basic("alice", PASSWORD)).status_code == 200


def test_another_registry_does_not_challenge(challenging: World) -> None:
    challenging.registry("other")
    query = "/token?service=other&scope=repository:team/app:pull"
    assert challenging.client.get(query).status_code == 200


def test_the_record_says_why(challenging: World) -> None:
    ask(challenging, "repository:team/app:pull")
    event = challenging.wiring.issuer.journal.pending[-1]
    assert event.outcome == "refused"
    assert event.reason.startswith("the registry asks for a login: repository:team/app:pull")

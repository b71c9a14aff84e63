"""Token requests that are to be answered at once: they are, as ever, or nothing was done."""

from collections.abc import Callable
from typing import Any

import bcrypt
import pytest

from authserver.auth.lockout import Tarpit
from authserver.auth.rate_limits import Counts
from authserver.core import secret_tokens
from authserver.core.errors import MustWait
from authserver.core.secret_tokens import Prefix
from authserver.db.store import Store
from authserver.web.server.gateway import AT_ONCE
from tests.world import ADMIN, PASSWORD, SERVICE, World

AT_ONCE_ONLY = {AT_ONCE: True}
MALFORMED = {"Authorization": "Basic ???"}


def never(*_: object, **__: object) -> None:
    raise AssertionError("this may take its time")


@pytest.fixture
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what makes everything fail that a request might have to wait for."""

    def forbid() -> None:
        for owner, name in (
            (bcrypt, "checkpw"),
            (Store, "read"),
            (Store, "change"),
            (Counts, "wait"),
            (Counts, "hit"),
            (Tarpit, "hold"),
        ):
            monkeypatch.setattr(owner, name, never)

    return forbid


def unknown(prefix: Prefix) -> str:
    return secret_tokens.make(prefix, lambda size: b"x" * size)


def at_once(world: World, auth: tuple[str, str] | None = None, **more: Any) -> int:
    query = f"service={SERVICE}&scope=repository:team/app:pull{more.pop('query', '')}"
    return world.get(query, auth=auth, environ_overrides=AT_ONCE_ONLY, **more).status_code


def posted(world: World, refresh_token: str) -> int:
    form = {
        "grant_type": "refresh_token",
        "client_id": "test",
        "service": SERVICE,
        "refresh_token": refresh_token,
    }
    return world.client.post("/token", data=form, environ_overrides=AT_ONCE_ONLY).status_code


def test_what_is_known_is_answered(world: World, nothing_waits: Callable[[], None]) -> None:
    world.get(auth=(ADMIN, PASSWORD))
    _, app_token = world.app_token(ADMIN)
    refresh_token = world.log_in(ADMIN)
    nothing_waits()
    assert at_once(world) == 200
    assert at_once(world, query="&offline_token=true") == 200
    assert at_once(world, (ADMIN, PASSWORD)) == 200
    assert at_once(world, (ADMIN, app_token)) == 200
    assert at_once(world, (ADMIN, app_token), query="&offline_token=true") == 200
    assert posted(world, refresh_token) == 200


def test_what_is_no_credential_is_refused(world: World, nothing_waits: Callable[[], None]) -> None:
    nothing_waits()
    assert at_once(world, headers=MALFORMED) == 401
    assert at_once(world, (ADMIN, "")) == 401
    assert at_once(world, (ADMIN, Prefix.APP + "mistyped")) == 401
    assert at_once(world, (ADMIN, unknown(Prefix.REFRESH))) == 401
    assert posted(world, Prefix.REFRESH + "mistyped") == 401


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        (ADMIN, PASSWORD),
        (ADMIN, "wrong horse"),
        ("nobody", PASSWORD),
        (ADMIN, unknown(Prefix.APP)),
    ],
)
def test_what_has_to_be_found_out_is_not(
    world: World, nothing_waits: Callable[[], None], name: str, secret: str
) -> None:
    nothing_waits()
    with pytest.raises(MustWait):
        at_once(world, (name, secret))
    # Whoever answers it in the end tells of it; one request is one record.
    assert not world.wiring.state.journal.pending


def test_a_login_is_stored_elsewhere(world: World, nothing_waits: Callable[[], None]) -> None:
    world.get(auth=(ADMIN, PASSWORD))
    before = len(world.wiring.state.journal.pending)
    nothing_waits()
    with pytest.raises(MustWait):
        at_once(world, (ADMIN, PASSWORD), query="&offline_token=true")
    assert len(world.wiring.state.journal.pending) == before


def test_an_unknown_refresh_token_is_looked_for_elsewhere(
    world: World, nothing_waits: Callable[[], None]
) -> None:
    nothing_waits()
    with pytest.raises(MustWait):
        posted(world, unknown(Prefix.REFRESH))

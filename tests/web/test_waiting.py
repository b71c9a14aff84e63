"""Requests that wait are answered from the state after the wait, never from the one before."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Event

import pytest
from werkzeug.test import TestResponse

from authserver.auth import passwords
from authserver.auth.bcrypt_queue import Hashing
from authserver.db import accounts
from authserver.runtime.concurrency import Slots
from authserver.runtime.shared_memory import SharedMemory
from tests.world import COST, PASSWORD, World, basic, wait_until

SECONDS = 10
ALICE = ("alice", PASSWORD)
PULL = "scope=repository:team/app:pull"


@pytest.fixture
def world(world: World) -> World:
    """alice may pull team/** and administers."""
    world.user("alice")
    world.allow("user:alice", "team/**", "pull")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", admin=True)
    world.wiring.state.refresh()
    return world


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def disable(world: World) -> None:
    world.disable("alice")


def remove(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.remove(change, "alice", force=True)
    world.wiring.state.refresh()


def make_again(world: World) -> None:
    """Make another account of the same name, with the same hash and a rule of its own."""
    stored = world.wiring.state.current.snapshot.accounts["alice"].password_hash
    remove(world)
    with world.wiring.store.change("test") as change:
        accounts.add_user(change, "alice", stored)
    world.wiring.state.refresh()


def rename(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.rename(change, "alice", "alicia")
    world.wiring.state.refresh()


def give_name_away(world: World) -> None:
    """Rename alice; another account gets her name, her hash, and the right to administer."""
    stored = world.wiring.state.current.snapshot.accounts["alice"].password_hash
    rename(world)
    with world.wiring.store.change("test") as change:
        accounts.add_user(change, "alice", stored, admin=True)
    world.wiring.state.refresh()


def change_password(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.set_password(change, "alice", passwords.hash_password("another one", COST))
    world.wiring.state.refresh()


def deny(world: World) -> None:
    world.deny("user:alice", "team/**", "pull")


def hash_anew(world: World) -> None:
    """Do what another worker does after a login, if the cost was raised."""
    stored = world.wiring.state.current.snapshot.accounts["alice"]
    assert stored.password_hash
    with world.wiring.store.change("test") as change:
        new = passwords.hash_password(PASSWORD, COST)
        accounts.rehash(change, stored.id, stored.password_hash, new)
    world.wiring.state.refresh()


def fetched(world: World, path: str, headers: dict[str, str]) -> TestResponse:
    """GET with a client of one's own, as each thread needs one."""
    return world.client.application.test_client().get(path, headers=headers)


def log_in(world: World, query: str = PULL) -> TestResponse:
    return fetched(world, f"/token?{query}", {"Authorization": basic(*ALICE)})


def list_users(world: World) -> TestResponse:
    return fetched(world, "/api/v1/users", {"Authorization": basic(*ALICE)})


def while_it_waits_for_bcrypt(
    world: World,
    threads: ThreadPoolExecutor,
    ask: Callable[[World], TestResponse],
    meanwhile: Callable[[World], None],
) -> TestResponse:
    """Have something happen while a request waits for its turn to have a password checked."""
    hashing, go = Hashing(SharedMemory.make(), 1, Slots(64, 64)), Event()
    object.__setattr__(world.wiring.issuer.backends, "hashing", hashing)
    blocking = threads.submit(hashing.run, "203.0.113.1", lambda: go.wait(SECONDS), guest=False)
    try:
        asked = threads.submit(ask, world)
        assert wait_until(lambda: hashing.places.taken == 2, SECONDS)
        meanwhile(world)
    finally:
        go.set()
    assert blocking.result(SECONDS)
    return asked.result(SECONDS)


def granted(world: World, response: TestResponse) -> list[object]:
    """Return what a request was granted that must have been good."""
    assert response.status_code == 200, response.text
    access: list[object] = world.claims(response)["access"]
    return access


PULLED = [{"type": "repository", "name": "team/app", "actions": ["pull"]}]
ENDINGS = [disable, remove, rename, change_password]


@pytest.mark.parametrize("meanwhile", ENDINGS)
def test_an_account_that_ends_while_a_login_waits_for_bcrypt_gets_no_token(
    world: World, threads: ThreadPoolExecutor, meanwhile: Callable[[World], None]
) -> None:
    assert while_it_waits_for_bcrypt(world, threads, log_in, meanwhile).status_code == 401


def test_a_login_that_waits_for_bcrypt_is_answered_by_the_rules_after_it(
    world: World, threads: ThreadPoolExecutor
) -> None:
    assert granted(world, while_it_waits_for_bcrypt(world, threads, log_in, deny)) == []


@pytest.mark.parametrize("meanwhile", [make_again, give_name_away])
def test_an_account_that_was_made_again_inherits_nothing_of_a_login_that_waits(
    world: World, threads: ThreadPoolExecutor, meanwhile: Callable[[World], None]
) -> None:
    answer = while_it_waits_for_bcrypt(world, threads, log_in, meanwhile)
    assert granted(world, answer) == []


def test_a_password_that_was_hashed_anew_meanwhile_stays_good(
    world: World, threads: ThreadPoolExecutor
) -> None:
    answer = while_it_waits_for_bcrypt(world, threads, log_in, hash_anew)
    assert granted(world, answer) == PULLED
    world.wiring.issuer.backends.passwords._until.clear()
    assert while_it_waits_for_bcrypt(world, threads, list_users, hash_anew).status_code == 200


@pytest.mark.parametrize("meanwhile", ENDINGS)
def test_an_account_that_ends_while_a_login_is_stored_gets_no_token(
    world: World, meanwhile: Callable[[World], None]
) -> None:
    assert while_it_is_stored(world, meanwhile).status_code == 401


def test_a_login_that_is_stored_is_answered_by_the_rules_after_it(world: World) -> None:
    assert granted(world, while_it_is_stored(world, deny)) == []


def while_it_is_stored(world: World, meanwhile: Callable[[World], None]) -> TestResponse:
    """Have something happen while a login waits for the store to take it."""
    log_in(world)  # the password is remembered
    storing = world.wiring.issuer.storing
    stored = storing.release

    def release(n: int = 1) -> None:
        meanwhile(world)
        stored(n)

    storing.release = release  # type: ignore[method-assign]
    return log_in(world, f"{PULL}&offline_token=true")


def demote(world: World) -> None:
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "alice", admin=False)
    world.wiring.state.refresh()


LOSSES = {disable: 401, remove: 401, rename: 401, change_password: 401, demote: 403}


@pytest.mark.parametrize(("meanwhile", "status"), LOSSES.items())
def test_an_administrator_who_was_removed_while_waiting_for_bcrypt_is_told_nothing(
    world: World, threads: ThreadPoolExecutor, meanwhile: Callable[[World], None], status: int
) -> None:
    answer = while_it_waits_for_bcrypt(world, threads, list_users, meanwhile)
    assert answer.status_code == status


class _Late(BytesIO):
    """A body before which something happens."""

    def __init__(self, body: bytes, meanwhile: Callable[[], None]) -> None:
        super().__init__(body)
        self._meanwhile = meanwhile

    def read(self, size: int | None = -1, /) -> bytes:
        self._meanwhile()
        return super().read(size)


@pytest.mark.parametrize(("meanwhile", "status"), LOSSES.items())
def test_an_administrator_who_was_removed_while_the_body_came_is_told_nothing(
    world: World, meanwhile: Callable[[World], None], status: int
) -> None:
    question = b'{"registry": "registry", "account": "admin", "scopes": ["repository:a:pull"]}'
    answer = world.client.post(
        "/api/v1/explain",
        headers={"Authorization": basic(*ALICE)},
        content_type="application/json",
        content_length=len(question),
        input_stream=_Late(question, lambda: meanwhile(world)),
    )
    assert answer.status_code == status

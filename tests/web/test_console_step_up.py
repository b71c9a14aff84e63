"""Step-up: what is most dangerous needs a fresh proof, whatever page or form asks for it."""

from typing import Any

import pytest
from flask import g
from sqlalchemy import update

from authserver.db import accounts, console_sessions
from authserver.db.models import ConsoleSessionRow
from authserver.web.console import step_up
from authserver.web.console.visit import OPERATIONS, ProofDue
from tests.web.visitor import Visitor
from tests.world import ADMIN, SERVICE, World

ALICE, ROOT = {"name": "alice"}, {"name": ADMIN}
NEEDING: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    *((operation, {"id": 1}, {}) for operation in sorted(step_up.ALWAYS)),
    ("put_user", {"name": "new"}, {"admin": True}),
    ("put_user", {"name": "new"}, {"auditor": True}),
    ("change_user", ALICE, {"admin": True}),
    ("change_user", ROOT, {"disabled": True}),
    ("change_user", {"name": "vera"}, {"app_tokens_only": True}),
    ("remove_user", ROOT, {}),
    ("rename_user", ROOT, {"name": "root"}),
    ("set_password", ROOT, {"password": "x"}),
    ("rename_user", {"name": "e\N{COMBINING ACUTE ACCENT}ve"}, {"name": "eve"}),
    ("invite_user", {}, {"user": ADMIN, "reset": "now"}),
    ("put_registry", {"service": "new"}, {"header_mode": "rfc7638"}),
    ("put_registry", {"service": SERVICE}, {"header_mode": "libtrust"}),
    ("change_registry", {"service": SERVICE}, {"header_mode": "none"}),
    ("create_token", {}, {"account": "alice", "name": "t", "scopes": ["admin"]}),
    ("create_my_token", {}, {"name": "t", "scopes": ["repository:a:pull", "auditor"]}),
    ("rotate_token", {"id": 1}, {}),
    ("rotate_my_token", {"id": 1}, {}),
]
GOING_ON: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("put_user", {"name": "new"}, {}),
    ("put_registry", {"service": "new"}, {"header_mode": "x5c", "key_type": "p256"}),
    ("change_registry", {"service": SERVICE}, {"token_ttl": 90}),
    ("invite_user", {}, {"user": "alice"}),
    ("change_user", ALICE, {"app_tokens_only": True}),
    ("create_my_token", {}, {"name": "t", "scopes": ["repository:a:pull"]}),
    ("rotate_my_token", {"id": 2}, {}),
    ("add_rule", {}, {}),
]


@pytest.fixture
def stale(world: World) -> Visitor:
    """An administrator whose last proof is a while ago; the app token 1 administers."""
    world.user("alice")
    world.user("vera")
    with world.wiring.store.change("test") as change:
        accounts.set_role(change, "vera", auditor=True)
        accounts.add_user(change, "\N{LATIN SMALL LETTER E WITH ACUTE}ve", None, admin=True)
    world.wiring.state.refresh()
    world.app_token(ADMIN, "admin", name="office")
    world.app_token(ADMIN, name="laptop")
    visitor = Visitor(world)
    visitor.log_in()
    with world.wiring.store.append() as session:
        long_ago = world.wiring.store.time(session) - console_sessions.FRESH
        session.execute(update(ConsoleSessionRow).values(proved_at=long_ago))
    return visitor


def asks_for_proof(
    visitor: Visitor, operation: str, path: dict[str, Any], body: dict[str, Any]
) -> bool:
    """Whether an operation that some page asks needs a proof first."""
    with visitor.client as client:
        client.get("/console/me")
        try:
            g.visit.call(operation, path, body=body, tag="*")
        except ProofDue:
            return True
        except Exception:  # noqa: BLE001 - whatever else is wrong with it is not asked
            return False
        return False


@pytest.mark.parametrize(("operation", "path", "body"), NEEDING)
def test_step_up_skipped_is_impossible(
    stale: Visitor, operation: str, path: dict[str, Any], body: dict[str, Any]
) -> None:
    assert asks_for_proof(stale, operation, path, body)


@pytest.mark.parametrize(("operation", "path", "body"), GOING_ON)
def test_everything_else_goes_on_without(
    stale: Visitor, operation: str, path: dict[str, Any], body: dict[str, Any]
) -> None:
    assert not asks_for_proof(stale, operation, path, body)


def test_each_operation_that_is_named_exists() -> None:
    named = step_up.ALWAYS | step_up.OF_USERS | step_up.MAKES_TOKENS | step_up.ROTATES_TOKENS
    assert named <= OPERATIONS.keys()


def test_every_change_of_keys_and_policy_is_there() -> None:
    """An operation that is added to these nouns must be decided about."""
    writing = {
        name
        for name, operation in OPERATIONS.items()
        if operation.method != "GET" and operation.tag in ("keys", "authorities", "policy")
    }
    assert writing - step_up.ALWAYS == {"plan_policy"}

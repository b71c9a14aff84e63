"""The operations that need a fresh proof (step-up), whatever page asks them.

``Visit.require`` asks before a form is shown, and ``Visit.call`` before the operation is done.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy.orm import Session

from authserver.core.errors import NotFound
from authserver.core.signatures import HeaderMode
from authserver.core.subjects import Role
from authserver.db import app_tokens, lookup
from authserver.db.models import AppTokenRow
from authserver.keys import registry_keys

ALWAYS = frozenset(
    {
        "activate_authority",
        "activate_key",
        "add_authority",
        "apply_policy",
        "confirm_authority",
        "reset_second_factors",
        "retire_authority",
        "revoke_key",
        "rotate_key",
    }
)
"""Keys, policies, and second factors of others."""

OF_USERS = frozenset(
    {"change_user", "invite_user", "put_user", "remove_user", "rename_user", "set_password"}
)
OF_REGISTRIES = frozenset({"change_registry", "put_registry"})
MAKES_TOKENS = frozenset({"create_my_token", "create_token"})
ROTATES_TOKENS = frozenset({"rotate_my_token", "rotate_token"})


def needs_proof(
    session: Session, operation: str, path: Mapping[str, Any], body: Mapping[str, Any]
) -> bool:
    """Whether an operation needs a fresh proof.

    It does if it concerns administrators, auditors, their tokens, or a registry's own key.
    """
    if operation in OF_USERS:
        rises = body.get("admin") is True or body.get("auditor") is True
        return rises or _role_of(session, path.get("name", body.get("user", ""))) > Role.NOBODY
    if operation in OF_REGISTRIES:
        return _changes_key(session, path.get("service", ""), body)
    if operation in MAKES_TOKENS:
        return app_tokens.role(body.get("scopes")) > Role.NOBODY
    if operation in ROTATES_TOKENS:
        row = session.get(AppTokenRow, path.get("id", 0))
        return row is not None and app_tokens.role(row.ceiling) > Role.NOBODY
    return operation in ALWAYS


def _role_of(session: Session, name: str) -> Role:
    with suppress(NotFound):
        return lookup.account(session, name).role
    return Role.NOBODY


def _changes_key(session: Session, service: str, body: Mapping[str, Any]) -> bool:
    """Whether a registry would get another key of its own, or name its key otherwise."""
    try:
        keys = registry_keys.terms(lookup.registry(session, service))
    except NotFound:
        keys = {"header_mode": HeaderMode.X5C}
    return any(name in body and body[name] != present for name, present in keys.items())

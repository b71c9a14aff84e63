"""The operations that need a fresh proof (step-up), whatever page asks them.

Pages ask for the proof before they show a form. This stands below them, so that no page can forget.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from authserver.core.names import nfc
from authserver.core.subjects import Role
from authserver.db.app_tokens import ADMIN
from authserver.db.models import AppTokenRow
from authserver.db.snapshot import Snapshot

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
MAKES_TOKENS = frozenset({"create_my_token", "create_token"})
ROTATES_TOKENS = frozenset({"rotate_my_token", "rotate_token"})
ADMINISTERING = frozenset({ADMIN, "auditor"})
"""Entries of an app token's ceiling that open the administration."""


def needs_proof(
    operation: str,
    path: Mapping[str, Any],
    body: Mapping[str, Any],
    snapshot: Snapshot,
    store: Session,
) -> bool:
    """Whether an operation needs a fresh proof: what concerns administrators and auditors does."""
    if operation in OF_USERS:
        known = snapshot.accounts.get(nfc(str(path.get("name", body.get("name")))))
        rises = body.get("admin") is True or body.get("auditor") is True
        return rises or (known is not None and known.role > Role.NOBODY)
    if operation in MAKES_TOKENS:
        return not ADMINISTERING.isdisjoint(body.get("scopes") or ())
    if operation in ROTATES_TOKENS:
        row = store.get(AppTokenRow, path["id"])
        return row is not None and not ADMINISTERING.isdisjoint(row.ceiling or ())
    return operation in ALWAYS

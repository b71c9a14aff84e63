"""The keys that sign registry tokens."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from authserver.keys import registry_keys, signing_keys
from authserver.keys.jose import HeaderMode
from authserver.keys.private_keys import Row
from authserver.registry import published_keys
from authserver.web.api import pagination
from authserver.web.api.models import Answer, Nothing, Paging, Query
from authserver.web.api.operations import Call, Operations, Reply
from authserver.web.api.pagination import Page, part

OPERATIONS = Operations("keys", "The authority and the signing keys.")


class Key(Answer):
    """A key, never its private half."""

    role: str
    id: int
    state: Literal["waiting", "active", "retired", "revoked"]
    key_id: str
    key_type: str
    subject: str
    not_before: datetime
    not_after: datetime
    signs: bool
    registry: str | None = Field(description="Whose own key it is.")
    header_mode: HeaderMode | None = Field(description="How a signing key is named in tokens.")


class Keys(Page[Key]):
    """A part of the list of keys."""


class Bundle(Answer):
    """The certificates for a registry's ``rootcertbundle``, PEM."""

    bundle: str


@OPERATIONS.operation("GET", "/keys", answer=Keys, query=Paging)
def list_keys(call: Call[Nothing, Paging]) -> Reply:
    """List the authorities and the signing keys."""
    limit, cursor = call.query.limit, call.query.cursor
    after: Any = ["", -1] if cursor is None else pagination.read_cursor(cursor, str, int)
    with call.read() as session:
        # By role, authorities first, and in it by id: there are only a few.
        rest = [key for key in signing_keys.listed(session) if [key.role, key.id] > after]
    more = (
        pagination.write_cursor([rest[limit - 1].role, rest[limit - 1].id])
        if rest[limit:]
        else None
    )
    return part(call, Keys, [asdict(key) for key in rest[:limit]], more)


@OPERATIONS.operation("GET", "/keys/bundle", answer=Bundle)
def show_bundle(call: Call[Nothing, Query]) -> Reply:
    """Show the certificates for a registry's rootcertbundle."""
    with call.read() as session:
        shown = published_keys.everything(session, call.parts.store.time(session))
        return Reply(Bundle(bundle=shown.bundle))


def shown(row: Row, status: int = 200) -> Reply:
    """Return the answer that shows a key."""
    return Reply(Key.model_validate(asdict(signing_keys.told(row))), status)


@OPERATIONS.operation("POST", "/keys/{id}/rotate", answer=Key)
def rotate_key(call: Call[Nothing, Query]) -> Reply:
    """Make the key that follows a signing key; a registry's own key waits until it is activated."""
    with call.destruction() as change:
        return shown(signing_keys.succeed(change, call.safe(change.session), call.path["id"]))


@OPERATIONS.operation("POST", "/keys/{id}/activate", answer=Key)
def activate_key(call: Call[Nothing, Query]) -> Reply:
    """Have a registry's own key that waits sign, once the registry knows it."""
    with call.destruction() as change:
        return shown(registry_keys.activate_waiting(change, call.path["id"]))


@OPERATIONS.operation("POST", "/keys/{id}/revoke", answer=Key)
def revoke_key(call: Call[Nothing, Query]) -> Reply:
    """Stop using a signing key; registries go on accepting what was signed with it."""
    with call.destruction() as change:
        return shown(signing_keys.revoke(change, call.safe(change.session), call.path["id"]))

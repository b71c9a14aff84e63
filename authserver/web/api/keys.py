"""The authorities and the signing keys: list them, rotate, activate and revoke them."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from authserver.core.signatures import HeaderMode
from authserver.keys import registry_keys, signing_keys
from authserver.keys.private_keys import Row
from authserver.keys.signing_keys import Listed
from authserver.registry import published_keys
from authserver.web.api.caller import Need
from authserver.web.api.models import ApiAnswer, Nothing, Paging
from authserver.web.api.operations import BareCall, Call, Operations
from authserver.web.api.pagination import Page, page

OPERATIONS = Operations("keys", "The authority and the signing keys.")


class Key(ApiAnswer):
    """A key. No answer has its private half."""

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
    """A page of the list of keys."""


class Bundle(ApiAnswer):
    """The certificates for a registry's ``rootcertbundle``, PEM."""

    bundle: str


def _place(key: Listed) -> list[Any]:
    return [key.role, key.id]


@OPERATIONS.operation("GET", "/keys", need=Need.READER)
def list_keys(call: Call[Nothing, Paging]) -> Keys:
    """List the authorities and the signing keys."""

    def rows(session: Session, after: list[Any] | None, limit: int) -> list[Listed]:
        # By role, authorities first, and in it by id: there are only a few.
        keys = signing_keys.listed(session)
        return [key for key in keys if after is None or _place(key) > after][:limit]

    return page(call, Keys, rows, asdict, lambda keys: _place(keys[-1]), str, int)


@OPERATIONS.operation("GET", "/keys/bundle", need=Need.READER)
def show_bundle(call: BareCall) -> Bundle:
    """Show the certificates for a registry's rootcertbundle."""
    with call.read() as session:
        keys = published_keys.everything(session, call.parts.store.time(session))
        return Bundle(bundle=keys.bundle)


def key(row: Row) -> Key:
    """Return the answer that shows a key."""
    return Key.model_validate(asdict(signing_keys.listing(row)))


@OPERATIONS.operation("POST", "/keys/{id}/rotate")
def rotate_key(call: BareCall) -> Key:
    """Make the successor of a signing key; a registry's own key waits until it is activated."""
    with call.destruction() as change:
        return key(signing_keys.succeed(change, call.safe(change.session), call.path["id"]))


@OPERATIONS.operation("POST", "/keys/{id}/activate")
def activate_key(call: BareCall) -> Key:
    """Let a registry's own waiting key sign, once the registry knows it."""
    with call.destruction() as change:
        return key(registry_keys.activate_waiting(change, call.path["id"]))


@OPERATIONS.operation("POST", "/keys/{id}/revoke")
def revoke_key(call: BareCall) -> Key:
    """Stop using a signing key; registries go on accepting what was signed with it."""
    with call.destruction() as change:
        return key(signing_keys.revoke(change, call.safe(change.session), call.path["id"]))

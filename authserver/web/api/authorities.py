"""Replace the authority, one step at a time."""

from pydantic import Field

from authserver.db import losses
from authserver.keys import authorities, signing_keys
from authserver.registry import entries
from authserver.web.api.keys import Key, key
from authserver.web.api.models import ApiAnswer, ApiBody, ApiQuery, Flag, Nothing, Removal
from authserver.web.api.operations import BareCall, Call, Operations, references
from authserver.web.api.problems import require_confirmed

OPERATIONS = Operations(
    "authorities", "Replacing the authority: make one, confirm each registry, activate, retire."
)


class Anyway(ApiQuery):
    """Whether to go on although registries may refuse tokens."""

    force: Flag = Field(default=False, description="Do it though registries may refuse tokens.")


class Confirmation(ApiBody):
    """The registry that has the authority in its bundle and was restarted."""

    registry: str = Field(min_length=1)


class Confirmed(ApiAnswer):
    """The registries that still need the authority."""

    authority: int
    unconfirmed: list[str] = Field(description="Those that are not known to trust it.")


@OPERATIONS.operation("POST", "/authorities", status=201)
def add_authority(call: BareCall) -> Key:
    """Make the next authority, which waits. The bundle then holds both."""
    with call.change() as change:
        session = change.session
        return key(authorities.add(change, call.safe(session), signing_keys.issuer(session)))


@OPERATIONS.operation("POST", "/authorities/{id}/confirm")
def confirm_authority(call: Call[Confirmation, ApiQuery]) -> Confirmed:
    """Confirm that a registry has the newest authority in its bundle and was restarted."""
    with call.change() as change:
        authorities.require_newest(change.session, call.path["id"])
        with references():
            row = authorities.confirm(change, call.body.registry)
        rest = authorities.unconfirmed(change.session, row)
        return Confirmed(authority=row.id, unconfirmed=rest)


@OPERATIONS.operation("POST", "/authorities/{id}/activate")
def activate_authority(call: Call[Nothing, Anyway]) -> Key:
    """Sign under the authority that waits, once every registry is known to trust it."""
    with call.destruction() as change:
        authorities.require_newest(change.session, call.path["id"])
        safe = call.safe(change.session)
        return key(authorities.activate(change, safe, force=call.query.force))


@OPERATIONS.operation("POST", "/authorities/{id}/retire")
def retire_authority(call: Call[Nothing, Removal]) -> Key:
    """Take an authority out of the bundle and destroy its private key.

    By force also if tokens under it may be in use: registries may refuse them.
    """
    with call.destruction() as change:
        row = authorities.to_retire(change.session, call.path["id"])
        require_confirmed(call.query, losses.of(change.session, [row]))
        longest = entries.longest_token(change.session, call.parts.settings.token_ttl)
        row = authorities.retire(change, call.path["id"], longest, force=call.query.force)
        return key(row)

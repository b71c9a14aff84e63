"""Replacing the authority, one step at a time."""

from pydantic import Field

from authserver.keys import authorities, signing_keys
from authserver.registry import entries
from authserver.web.api.keys import Key, shown
from authserver.web.api.models import Answer, Body, Flag, Nothing, Query
from authserver.web.api.operations import Call, Operations, Reply, references

OPERATIONS = Operations(
    "authorities", "Replacing the authority: make one, confirm each registry, activate, retire."
)


class Anyway(Query):
    """Whether to do it though tokens will be refused."""

    force: Flag = Field(default=False, description="Do it though registries may refuse tokens.")


class Confirmation(Body):
    """Which registry has the authority in its bundle and was restarted."""

    registry: str = Field(min_length=1)


class Confirmed(Answer):
    """What is known of the registries that need the authority."""

    authority: int
    unconfirmed: list[str] = Field(description="Those that are not known to trust it.")


@OPERATIONS.operation("POST", "/authorities", answer=Key, statuses=(201,))
def add_authority(call: Call[Nothing, Query]) -> Reply:
    """Make the next authority, which waits. The bundle then holds both."""
    with call.change() as change:
        session = change.session
        return shown(authorities.add(change, call.safe(session), signing_keys.issuer(session)), 201)


@OPERATIONS.operation("POST", "/authorities/{id}/confirm", answer=Confirmed, body=Confirmation)
def confirm_authority(call: Call[Confirmation, Query]) -> Reply:
    """Say that a registry has the newest authority in its bundle and was restarted."""
    with call.change() as change:
        authorities.require_newest(change.session, call.path["id"])
        with references():
            row = authorities.confirm(change, call.body.registry)
        rest = authorities.unconfirmed(change.session, row)
        return Reply(Confirmed(authority=row.id, unconfirmed=rest))


@OPERATIONS.operation("POST", "/authorities/{id}/activate", answer=Key, query=Anyway)
def activate_authority(call: Call[Nothing, Anyway]) -> Reply:
    """Sign under the authority that waits, once every registry is known to trust it."""
    with call.destruction() as change:
        authorities.require_newest(change.session, call.path["id"])
        safe = call.safe(change.session)
        return shown(authorities.activate(change, safe, force=call.query.force))


@OPERATIONS.operation("POST", "/authorities/{id}/retire", answer=Key, query=Anyway)
def retire_authority(call: Call[Nothing, Anyway]) -> Reply:
    """Take an authority out of the bundle and destroy its private key."""
    with call.destruction() as change:
        longest = entries.longest_token(change.session, call.parts.settings.token_ttl)
        row = authorities.retire(change, call.path["id"], longest, force=call.query.force)
        return shown(row)

"""Oneself: one's own account, password, app tokens and sessions."""

from pydantic import Field

from authserver.core import password_rules
from authserver.db import accounts
from authserver.web.api import app_tokens, sessions
from authserver.web.api.app_tokens import NewSecret, NewToken, Rotation, Token, Tokens
from authserver.web.api.caller import Caller, Need
from authserver.web.api.models import Answer, Body, Nothing, Paging, Password, Query
from authserver.web.api.operations import Call, Operations, Reply
from authserver.web.api.sessions import Ended, Session, Sessions

OPERATIONS = Operations(
    "me",
    "One's own account. An app token without an admin ceiling reads here, and revokes itself.",
)


class Credential(Answer):
    """What the request was authenticated with; ``id`` is an app token's."""

    kind: str
    id: int | None


class Me(Answer):
    """Who I am."""

    name: str
    kind: str
    admin: bool = Field(description="Whether this account may administer.")
    administers: bool = Field(description="Whether it may with this credential.")
    groups: list[str]
    credential: Credential


class OwnPassword(Body):
    """One's own password, and the one that it becomes."""

    current: str = Field(max_length=1000, repr=False)
    new: Password


@OPERATIONS.operation("GET", "/me", answer=Me, need=Need.ANY)
def show_me(call: Call[Nothing, Query]) -> Reply:
    """Say who I am."""
    caller = call.caller
    known, token = caller.identity.known, caller.identity.app_token
    return Reply(
        Me(
            name=caller.name,
            kind=known.account.kind,
            admin=known.admin,
            administers=known.admin and not caller.is_narrow,
            groups=sorted(known.account.groups),
            credential=Credential(
                kind="password" if token is None else "app token", id=token and token.id
            ),
        )
    )


@OPERATIONS.operation("POST", "/me/password", body=OwnPassword, need=Need.SELF, statuses=(204,))
def change_password(call: Call[OwnPassword, Query]) -> Reply:
    """Change my password; whoever was logged in has to log in again."""
    callers, caller = call.parts.callers, call.caller
    password_rules.require_new(call.body.new)
    prover = callers.prove(caller, call.body.current, call.origin)
    hashed = call.hash_new(call.body.new)
    with call.change() as change:
        callers.require_still(change, prover, Need.ANY)
        accounts.set_password(change, caller.name, hashed)
    return Reply(None, 204)


@OPERATIONS.operation("GET", "/me/tokens", answer=Tokens, query=Paging, need=Need.ANY)
def list_my_tokens(call: Call[Nothing, Paging]) -> Reply:
    """List my app tokens."""
    return app_tokens.listing(call, call.caller.name)


@OPERATIONS.operation(
    "POST",
    "/me/tokens",
    answer=NewSecret,
    body=NewToken,
    need=Need.SELF,
    statuses=(201,),
    tagged=True,
)
def create_my_token(call: Call[NewToken, Query]) -> Reply:
    """Make an app token for myself; its secret is told only now."""
    return app_tokens.making(call, call.caller.name, call.body, call.here)


@OPERATIONS.operation("GET", "/me/tokens/{id}", answer=Token, need=Need.ANY, tagged=True)
def show_my_token(call: Call[Nothing, Query]) -> Reply:
    """Show an app token of mine."""
    return app_tokens.showing(call, call.caller.name)


@OPERATIONS.operation(
    "POST",
    "/me/tokens/{id}/rotate",
    answer=NewSecret,
    body=Rotation,
    need=Need.SELF,
    tagged=True,
)
def rotate_my_token(call: Call[Rotation, Query]) -> Reply:
    """Give an app token of mine a new secret; the old one stays good for a while."""
    return app_tokens.rotating(call, call.caller.name)


@OPERATIONS.operation("DELETE", "/me/tokens/{id}", need=Need.ANY, statuses=(204,), conditional=True)
def revoke_my_token(call: Call[Nothing, Query]) -> Reply:
    """Revoke an app token of mine; one without an admin ceiling revokes only itself."""
    _require_itself(call.caller, call.path["id"])
    return app_tokens.revoking(call, call.caller.name)


def _require_itself(caller: Caller, token_id: int) -> None:
    token = caller.identity.app_token
    if token is not None and token.id != token_id:
        caller.require(Need.SELF)


@OPERATIONS.operation("GET", "/me/sessions", answer=Sessions, query=Paging, need=Need.ANY)
def list_my_sessions(call: Call[Nothing, Paging]) -> Reply:
    """List my sessions."""
    return sessions.listing(call, call.caller.name)


@OPERATIONS.operation("GET", "/me/sessions/{id}", answer=Session, need=Need.ANY, tagged=True)
def show_my_session(call: Call[Nothing, Query]) -> Reply:
    """Show a session of mine."""
    return sessions.showing(call, call.caller.name)


@OPERATIONS.operation(
    "DELETE", "/me/sessions/{id}", need=Need.SELF, statuses=(204,), conditional=True
)
def revoke_my_session(call: Call[Nothing, Query]) -> Reply:
    """End a session of mine."""
    return sessions.revoking(call, call.caller.name)


@OPERATIONS.operation("POST", "/me/sessions/revoke", answer=Ended, body=Nothing, need=Need.SELF)
def revoke_my_sessions(call: Call[Nothing, Query]) -> Reply:
    """End all my sessions."""
    return sessions.ending_all(call, call.caller.name)

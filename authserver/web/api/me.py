"""The caller's own account. Its tokens and sessions are declared where everybody's are."""

from collections.abc import Callable
from typing import Any, TypeVar, Unpack

from pydantic import Field

from authserver.auth.passwords import NewPasswords
from authserver.core.errors import Forbidden, SecondFactorNeeded
from authserver.core.subjects import Role
from authserver.web.api.caller import Need
from authserver.web.api.models import ApiAnswer, ApiBody, ApiQuery, Password
from authserver.web.api.operations import BareCall, Call, OperationOptions, Operations

_Handler = TypeVar("_Handler", bound=Callable[..., Any])

OPERATIONS = Operations(
    "me",
    "The caller's account. An app token without an admin or self ceiling reads here, and revokes "
    "itself.",
)


def own(
    method: str, path: str, **options: Unpack[OperationOptions]
) -> Callable[[_Handler], _Handler]:
    """Declare a handler below ``/me`` too, where ``Call.owner`` confines it to the caller's own.

    ``show_token`` is called ``show_my_token`` there.
    """

    def declare(handler: _Handler) -> _Handler:
        options.setdefault("name", handler.__name__.replace("_", "_my_", 1))
        return OPERATIONS.operation(method, f"/me{path}", **options)(handler)

    return declare


class ApiCredential(ApiAnswer):
    """The credential of the request; ``id`` is an app token's."""

    kind: str
    id: int | None


class Me(ApiAnswer):
    """Who I am."""

    name: str
    kind: str
    admin: bool = Field(description="Whether this account may administer.")
    auditor: bool = Field(description="Whether it may read all that an administrator reads.")
    administers: bool = Field(description="Whether it may administer with this credential.")
    reads: bool = Field(
        description="Whether it may read all that an administrator reads with this credential."
    )
    groups: list[str]
    credential: ApiCredential


class OwnPassword(ApiBody):
    """The current password and the new one."""

    current: str = Field(max_length=1000, repr=False)
    new: Password


@OPERATIONS.operation("GET", "/me", need=Need.ANY)
def show_me(call: BareCall) -> Me:
    """Say who I am."""
    caller = call.caller
    known, token = caller.identity.known, caller.identity.app_token
    return Me(
        name=caller.name,
        kind=known.account.kind,
        admin=known.admin,
        auditor=known.auditor,
        administers=caller.role is Role.ADMINISTRATOR,
        reads=caller.role >= Role.AUDITOR,
        groups=sorted(known.account.groups),
        credential=ApiCredential(
            kind="password" if token is None else "app token", id=token and token.id
        ),
    )


@OPERATIONS.operation("POST", "/me/password", need=Need.SELF)
def change_password(call: Call[OwnPassword, ApiQuery]) -> None:
    """Change my password. This ends my sessions."""
    body, new = call.body, NewPasswords.of(call.parts.settings)
    try:
        call.parts.callers.change_password(
            call.caller.name, body.current, body.new, call.origin, new, call.change
        )
    except SecondFactorNeeded as error:
        # The request's own credential is good.
        raise Forbidden(
            f"this needs a second factor too: change the password in the console at {error.console}"
        ) from None

"""Second factors of users. None is set up here: an app token must not weaken a person's login."""

from datetime import datetime
from typing import Any

from pydantic import Field
from sqlalchemy.orm import Session

from authserver.core.bounds import UNBOUNDED
from authserver.core.subjects import AccountKind
from authserver.db import lookup, second_factors
from authserver.db.models import SecondFactorRow
from authserver.web.api import users
from authserver.web.api.caller import Need
from authserver.web.api.models import ApiAnswer, Nothing, Paging
from authserver.web.api.operations import BareCall, Call, Operations
from authserver.web.api.pagination import Page, page

OPERATIONS = Operations(
    "second factors", "What users prove beside the password. They set it up in the console."
)


class ApiSecondFactor(ApiAnswer):
    """A second factor, without its secret."""

    id: int
    kind: str = Field(description="totp or passkey.")
    name: str
    created_at: datetime
    last_used_at: datetime | None


class SecondFactorPage(Page[ApiSecondFactor]):
    """A page of the list of a user's second factors."""


@OPERATIONS.operation("GET", "/users/{name}/second-factors", need=Need.READER)
def list_second_factors(call: Call[Nothing, Paging]) -> SecondFactorPage:
    """List the second factors of a user."""

    def rows(session: Session, after: list[Any] | None, limit: int) -> list[SecondFactorRow]:
        account = lookup.account(session, call.path["name"], AccountKind.USER)
        listed = second_factors.listed(session, account.id)
        return [row for row in listed if after is None or row.id > after[0]][:limit]

    described = second_factors.described
    return page(call, SecondFactorPage, rows, described, lambda rows: [rows[-1].id], int)


@OPERATIONS.operation("DELETE", "/users/{name}/second-factors")
def reset_second_factors(call: BareCall) -> None:
    """Remove all second factors of a user, and end the user's logins.

    The password is enough then, unless the settings demand a second factor. An app token may not
    do this. If-Match is of the user.
    """
    call.caller.require_within(UNBOUNDED)
    with call.change() as change:
        second_factors.reset(change, users.VIEW.seen(call, change.session))

"""Robots: programs."""

from datetime import datetime
from functools import partial
from typing import Any

from pydantic import Field

from authserver.core.subjects import AccountKind
from authserver.db import accounts, lists, lookup
from authserver.db.models import AccountRow
from authserver.db.store import Change
from authserver.web.api.models import ApiAnswer, ApiBody, Name
from authserver.web.api.operations import Call, Operations
from authserver.web.api.pagination import Page
from authserver.web.api.resources import Resource, View

OPERATIONS = Operations("robots", "Programs: accounts that use app tokens and have no password.")
_ROBOT = AccountKind.ROBOT


class RobotTerms(ApiBody):
    """A robot."""

    owner: Name | None = Field(default=None, description="The user who answers for it.")
    outlives_owner: bool = Field(
        default=False, description="Stays enabled when its owner is disabled."
    )
    description: str = Field(default="", description="What it is for: one line.")
    disabled: bool = Field(default=False, description="No credential of it is good.")


class Robot(ApiAnswer):
    """A robot."""

    name: str
    kind: str
    owner: str | None
    owner_disabled: bool
    outlives_owner: bool
    description: str
    disabled: bool
    groups: list[str]
    created_at: datetime
    last_used_at: datetime | None = Field(
        description="When any credential of it was last used, also one that is gone."
    )


class Robots(Page[Robot]):
    """A page of the list of robots."""


def _add(_: Call[Any, Any], change: Change, name: str, terms: RobotTerms) -> None:
    row = accounts.add_robot(
        change,
        name,
        owner=terms.owner,
        description=terms.description,
        outlives_owner=terms.outlives_owner,
    )
    accounts.set_disabled(change, row.name, disabled=terms.disabled)


def _edit(_: Call[Any, Any], change: Change, row: AccountRow, terms: RobotTerms) -> None:
    accounts.replace_robot(
        change,
        row.name,
        owner=terms.owner,
        description=terms.description,
        outlives_owner=terms.outlives_owner,
    )
    accounts.set_disabled(change, row.name, disabled=terms.disabled)


Resource(
    noun="robot",
    path="/robots",
    view=View(
        Robot,
        lambda session, name: lookup.account(session, name, _ROBOT),
        accounts.described,
        frozenset({"last_used_at"}),
        key="name",
    ),
    page=Robots,
    terms=RobotTerms,
    listed=lambda session, window: accounts.listed(session, _ROBOT, window),
    listing=lists.ROBOTS,
    add=_add,
    edit=_edit,
    remove=lambda change, row, force: accounts.remove(change, row.name, force=force, kind=_ROBOT),
    rename=partial(accounts.rename, kind=_ROBOT),
).declare(OPERATIONS)

"""Models that bodies, queries and answers are made of. Clients see ``ApiRule`` as ``Rule``."""

import re
from copy import copy
from datetime import datetime
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
)

from authserver.core.password_rules import MIN_LENGTH
from authserver.core.times import in_utc
from authserver.db.lists import MAX_SEARCH

MAX_ID = 2**63 - 1
MAX_PAGE = 500

_Terms = TypeVar("_Terms", bound="ApiBody")


def schema_name(name: str) -> str:
    """Return the name that a class has in the OpenAPI document."""
    return name.removeprefix("Api")


class ApiModel(BaseModel):
    """A model that the OpenAPI document describes."""

    model_config = ConfigDict(
        frozen=True, model_title_generator=lambda model: schema_name(model.__name__)
    )


class ApiBody(ApiModel):
    """A request's body: exact types, and no unknown field."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ApiQuery(ApiModel):
    """The parameters after the ``?``: each once, and no unknown one."""

    model_config = ConfigDict(extra="forbid")


class ApiAnswer(ApiModel):
    """An answer. Clients must ignore fields that they do not know: later versions have more.

    A ``sparse`` answer leaves out the fields that were not set.
    """

    sparse: ClassVar[bool] = False


class Nothing(ApiBody):
    """An empty object: what is asked is in the path."""


def decimal(value: object) -> object:
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        raise ValueError("write a number in decimal digits")
    return value


def _whole(value: object) -> object:
    # JSON has only numbers: 60.0 is 60.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flag(value: object) -> object:
    if isinstance(value, str) and value not in ("true", "false"):
        raise ValueError("write true or false")
    return value


def _written_time(value: object) -> object:
    # A bare number would be taken for seconds since 1970.
    written = isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d[Tt ]", value)
    if not written and not isinstance(value, datetime):
        raise ValueError("write a time as in RFC 3339, like 2026-12-31T18:00:00Z")
    return value


WHOLE = BeforeValidator(_whole)
"""For a number in a body. Its bounds stand before this, so that the schema has them."""


# Strict mode would refuse a time that a validator has looked at before.
Time = Annotated[
    AwareDatetime, Field(strict=False), BeforeValidator(_written_time), AfterValidator(in_utc)
]
"""For a time in a body or a query. A time that no schema can exclude raises Refused."""

Sought = Annotated[str, Field(pattern=r"^[^\x00]*$", max_length=2000)]
"""For a text that filters a list. PostgreSQL has no NUL in texts, so nothing can match one."""

Text = Annotated[str, Field(min_length=1)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
# The minimum is a setting, and its refusal names it: the schema has none.
Password = Annotated[
    str,
    Field(
        max_length=72,
        repr=False,
        description=f"At least as many characters as AUTHSERVER_PASSWORD_MIN_LENGTH says "
        f"({MIN_LENGTH} by default), at most 72 bytes; no common password, and not the user's "
        "name. Otherwise 409.",
    ),
]


class Paging(ApiQuery):
    """Which page of a list."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE), BeforeValidator(decimal)] = Field(
        100, description="How many at most."
    )
    cursor: str | None = Field(None, description="Where to go on; from `next` of the page before.")


class Search(Paging):
    """Which part of a list, and how it is sorted."""

    q: Annotated[Sought, Field(max_length=MAX_SEARCH)] = Field(
        "", description="Only those that have this text in them, in any case."
    )
    sort: str | None = None


class SearchUnused(Search):
    """Which part of a list, by the last use too."""

    unused_since: Time | None = Field(
        None, description="Only those that were not used since then, nor made."
    )


class Force(ApiQuery):
    """Whether to go on where rules that name the thing go with it."""

    force: Flag = Field(
        default=False, description="Do it even where rules that name it go with it."
    )


class Confirming(ApiQuery):
    """Whether to go on where rules, tokens or logins go with the thing."""

    confirm: Flag = Field(
        default=False,
        description="Do it even where rules, tokens or logins go with it. Without it, 409 whose "
        "`goes` says which.",
    )

    @property
    def confirmed(self) -> bool:
        return self.confirm


class Removal(Confirming, Force):
    """Whether to go on where something goes with the thing; ``force`` confirms as well."""

    @property
    def confirmed(self) -> bool:
        return self.confirm or self.force


class Removed(ApiAnswer):
    """The rules that went with the thing."""

    rules: list[str]


class Invalid(ApiAnswer):
    """One fault of a body or a query."""

    where: str = Field(description="A JSON Pointer into the body, or the name of a parameter.")
    detail: str


class ApiLoss(ApiAnswer):
    """What would go with a thing, of one kind."""

    what: str = Field(examples=["app token"])
    count: int
    first: list[str] = Field(description="The first few of them.")


class ApiProblem(ApiAnswer):
    """A problem (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Invalid] = Field(default=[], description="What is invalid, each on its own.")
    goes: list[ApiLoss] = Field(default=[], description="What would go, had it been confirmed.")


def changes_of(terms: type[_Terms]) -> type[_Terms]:
    """Return the model of a change of ``terms``: the same fields, all of them optional."""
    fields: dict[str, Any] = {}
    for name, field in terms.model_fields.items():
        optional = copy(field)
        optional.default = None
        optional.json_schema_extra = without_default
        fields[name] = (field.annotation, optional)
    model: type[_Terms] = create_model(
        f"{terms.__name__}Change", __base__=terms, __doc__=f"A change: {terms.__doc__}", **fields
    )
    return model


def without_default(schema: dict[str, Any]) -> None:
    """Take the default out: null does not stand for a field that is left out."""
    del schema["default"]

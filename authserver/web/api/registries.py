"""The protected registries."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from authserver.acceptance import Trust
from authserver.db import named, registries
from authserver.db.models import Registry as Row
from authserver.db.registries import TTL_MAX, TTL_MIN
from authserver.db.store import Change
from authserver.distribution.versions import Version
from authserver.web.api.models import WHOLE, Answer, Body
from authserver.web.api.operations import Operations
from authserver.web.api.pages import Page
from authserver.web.api.resources import Resource, Shown

OPERATIONS = Operations("registries", "The registries that accept our tokens.")


class RegistryTerms(Body):
    """What is said of a registry."""

    token_ttl: Annotated[int, Field(ge=TTL_MIN, le=TTL_MAX), WHOLE] | None = Field(
        default=None,
        description="Life of its tokens in seconds; null is AUTHSERVER_TOKEN_TTL.",
    )
    refresh_tokens: bool = Field(
        default=True,
        description="Whether docker login keeps a refresh token; false ends those there are.",
    )


class Registry(Answer):
    """A registry entry."""

    service: str
    token_ttl: int | None
    refresh_tokens: bool
    version: Version | None
    trust: Trust
    created_at: datetime


class Registries(Page[Registry]):
    """A part of the list of registries."""


def _add(change: Change, service: str, terms: RegistryTerms) -> None:
    registries.add(change, service, terms.token_ttl, refresh_tokens=terms.refresh_tokens)


def _edit(change: Change, row: Row, terms: RegistryTerms, force: bool) -> None:  # noqa: ARG001
    registries.replace(
        change, row.service, token_ttl=terms.token_ttl, refresh_tokens=terms.refresh_tokens
    )


Resource(
    noun="registry",
    path="/registries",
    key="service",
    shown=Shown(Registry, named.registry, registries.described),
    page=Registries,
    terms=RegistryTerms,
    listed=registries.listed,
    place=lambda row: row.service,
    add=_add,
    edit=_edit,
    remove=lambda change, row, force: registries.remove(change, row.service, force=force),
).declare(OPERATIONS)

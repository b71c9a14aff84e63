"""The protected registries."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from authserver.core.signatures import KEY_ID_MODES, HeaderMode, KeyType
from authserver.db import lists, lookup, losses
from authserver.db.models import RegistryRow
from authserver.db.store import Change
from authserver.keys import registry_keys
from authserver.keys.compatibility import Trust, Version
from authserver.registry import config_section, entries, last_checks
from authserver.registry.entries import TTL_MAX, TTL_MIN, Installation
from authserver.web.api.caller import Need
from authserver.web.api.models import (
    WHOLE,
    ApiAnswer,
    ApiBody,
    ApiQuery,
    Nothing,
    Removal,
    Sought,
)
from authserver.web.api.operations import BareCall, Call, Operations, references
from authserver.web.api.pagination import Page
from authserver.web.api.problems import require_confirmed
from authserver.web.api.resources import Resource, View

OPERATIONS = Operations("registries", "The registries that accept our tokens.")


URL = Field(
    pattern=r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$",
    max_length=300,
    examples=["https://registry.example.com"],
)


class RegistryTerms(ApiBody):
    """A registry entry."""

    token_ttl: Annotated[int, Field(ge=TTL_MIN, le=TTL_MAX), WHOLE] | None = Field(
        default=None,
        description="Life of its tokens in seconds; null is AUTHSERVER_TOKEN_TTL.",
    )
    refresh_tokens: bool = Field(
        default=True,
        description="Whether docker login keeps a refresh token; false ends those there are.",
    )
    app_tokens_only: bool = Field(
        default=False,
        description="Whether it takes app tokens only, no password; true ends its sessions.",
    )
    challenge_anonymous: bool = Field(
        default=False,
        description="Whether a request without credentials that is not granted all it asks for is "
        "answered with 401, so that a browser asks for a password.",
    )
    url: Annotated[str, URL] | None = Field(
        default=None, description="Where clients reach it; a check asks it there and nowhere else."
    )
    version: Version | None = Field(
        default=None, description="Of Distribution; what it cannot accept is refused."
    )
    trust: Trust = Field(
        default=Trust.BUNDLE,
        description="Which of rootcertbundle and jwks its configuration names.",
    )
    header_mode: HeaderMode = Field(
        default=HeaderMode.X5C,
        description="How its tokens name their key. A new registry gets the key of its own that "
        f"{' and '.join(KEY_ID_MODES)} need; for one that is there it waits (`waiting_key`) until "
        "it is activated. Any other change is in force at once: the registry must be ready for it.",
    )
    key_type: KeyType = Field(default=KeyType.P256, description="Of a key of its own.")

    @property
    def installation(self) -> Installation:
        return Installation(self.url, self.version, self.trust)


class LastCheck(ApiAnswer):
    """When a registry was checked last, and how that ended."""

    at: datetime
    by: str = Field(description="As in records: account:NAME, or cli:USER on the command line.")
    healthy: bool = Field(description="Whether nothing failed.")
    failed: int = Field(description="How many checks failed.")


class FailedCheck(ApiAnswer):
    """A check that failed, the reason, and the exact change to make."""

    check: str
    why: str
    cure: str


class CheckOfRegistry(LastCheck):
    """The last check of a registry, with the first fifty findings that failed."""

    url: str
    findings: list[FailedCheck]


class ApiRegistry(ApiAnswer):
    """A registry entry."""

    service: str
    token_ttl: int | None
    refresh_tokens: bool
    app_tokens_only: bool
    challenge_anonymous: bool
    url: str | None
    version: Version | None
    trust: Trust
    header_mode: HeaderMode
    key_type: KeyType
    own_key: int | None = Field(description="Id of its own key that signs.")
    waiting_key: int | None = Field(description="Id of its own key that waits.")
    confirmed_authority: int | None = Field(
        description="Id of the authority that it is known to trust."
    )
    last_check: LastCheck | None = Field(description="null: it was never checked at its URL.")
    created_at: datetime


class Registries(Page[ApiRegistry]):
    """A page of the list of registries."""


def _add(call: Call[Any, Any], change: Change, service: str, terms: RegistryTerms) -> None:
    row = entries.add(
        change,
        service,
        terms.token_ttl,
        refresh_tokens=terms.refresh_tokens,
        app_tokens_only=terms.app_tokens_only,
        challenge_anonymous=terms.challenge_anonymous,
        installation=terms.installation,
    )
    safe = call.safe(change.session)
    registry_keys.set_up(change, safe, row, terms.header_mode, terms.key_type)


def _edit(call: Call[Any, Any], change: Change, row: RegistryRow, terms: RegistryTerms) -> None:
    before, keys = Installation.of(row), registry_keys.terms(row)
    if terms.app_tokens_only or not terms.refresh_tokens:
        require_confirmed(call.query, losses.logins_of(change.session, [row]))
    entries.replace(
        change,
        row.service,
        token_ttl=terms.token_ttl,
        refresh_tokens=terms.refresh_tokens,
        app_tokens_only=terms.app_tokens_only,
        challenge_anonymous=terms.challenge_anonymous,
        installation=terms.installation,
    )
    wanted = (terms.header_mode, terms.key_type)
    rekeyed = wanted != (keys["header_mode"], keys["key_type"])
    if rekeyed:
        registry_keys.choose(change, call.safe(change.session), row, *wanted)
    if rekeyed or terms.installation != before:
        registry_keys.require_accepted(change.session, row)


Resource(
    noun="registry",
    path="/registries",
    view=View(
        ApiRegistry,
        lookup.registry,
        entries.described,
        frozenset({"confirmed_authority", "last_check"}),
        key="service",
    ),
    page=Registries,
    terms=RegistryTerms,
    listed=entries.listed,
    listing=lists.REGISTRIES,
    add=_add,
    edit=_edit,
    editing=Removal,
    remove=lambda change, row, force: entries.remove(change, row.service, force=force),
).declare(OPERATIONS)


# Not below /registries/{service}: a service may have slashes.
@OPERATIONS.operation("GET", "/checks/{service}", need=Need.READER)
def show_last_check(call: BareCall) -> CheckOfRegistry:
    """Show the last check of a registry, and what failed."""
    with call.read() as session:
        row = last_checks.of(session, call.path["service"])
        return CheckOfRegistry.model_validate(last_checks.described(row))


class WhichConfig(ApiQuery):
    """The registry, and what its configuration is like."""

    registry: Sought
    version: Literal["2", "3"] | None = Field(
        None,
        description="Version of Distribution; otherwise the entry's. The section for 2 works with "
        "3 too.",
    )
    bundle_path: Sought | None = Field(
        None, description="Path of the bundle as the registry will see it."
    )
    jwks_path: Sought | None = Field(
        None, description="Path of the JWKS as the registry will see it."
    )


class ApiTrustedFile(ApiAnswer):
    """A file that the registry reads its trust from."""

    option: str = Field(description="What names it in the section.")
    kind: str
    name: str
    path: str = Field(description="Where the registry will see it.")
    command: str = Field(description="The command that prints its content.")
    content: str


class RegistryConfig(ApiAnswer):
    """The section for a registry's own configuration, and the files that it names."""

    service: str
    version: str
    section: str = Field(description="YAML, for the registry's config.yml.")
    files: list[ApiTrustedFile]
    doubts: list[str] = Field(description="Why its realm will not do for some clients.")


# Not below /registries/{service}: a service may have slashes.
@OPERATIONS.operation("GET", "/registry-config", need=Need.READER)
def show_registry_config(call: Call[Nothing, WhichConfig]) -> RegistryConfig:
    """Show the `auth.token` section for a registry's config.yml, and the files that it names."""
    query, parts = call.query, call.parts
    paths = {"rootcertbundle": query.bundle_path, "jwks": query.jwks_path}
    with call.read() as session, references():
        row = lookup.registry(session, query.registry)
        section = config_section.of(
            session, row, parts.settings, parts.store, query.version, paths=paths
        )
    return RegistryConfig.model_validate(section.as_json())

"""The keys of a policy: one pydantic model for files, for the admin API and for editors.

The model knows types and required keys. What names, patterns and subjects may look like is checked
by ``parser``, which reads a model into a :class:`Policy`.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    Tag,
    create_model,
)
from pydantic.json_schema import GenerateJsonSchema

from authserver.core.conditions import FIELDS, ConditionField, ValueKind
from authserver.core.rules import ACTIONS, ALL, Effect
from authserver.core.subjects import AccountKind
from authserver.registry.entries import TTL_MAX, TTL_MIN

ALL_WORD = "all"
DATE = "^[0-9]{4}-[0-9]{2}-[0-9]{2}"


class BareText(str):
    """A scalar that a file has without quotes, so that it may be a flag or a number."""

    __slots__ = ()


def _flag(value: object) -> object:
    is_flag = isinstance(value, BareText) and value in ("true", "false")
    return value == "true" if is_flag else value


def _whole_number(value: object) -> object:
    if isinstance(value, BareText) and re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    # JSON has only numbers: 60.0 is 60.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def optional(description: str | None) -> Any:  # noqa: ANN401 - as Field has it
    """Return a field that may be left out. It has no default: null stands for nothing."""
    return Field(default=None, description=description)


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class _FailFast(FailFast):
    """As pydantic's own; in a union it has to be hashable."""

    __hash__ = object.__hash__


_Name = Annotated[str, Field(min_length=1)]
_Flag = Annotated[bool, BeforeValidator(_flag)]
_Seconds = Annotated[int, Field(ge=TTL_MIN, le=TTL_MAX), BeforeValidator(_whole_number)]
# A date without quotes is a date to YAML 1.1 and a text to YAML 1.2.
_Time = Annotated[str, Field(pattern=DATE)]
# Of the texts of one entry the first that is none is enough.
_Texts = Annotated[list[str], _FailFast()]
_Names = Annotated[list[str], FailFast(), Field(min_length=1)]
_ACTION_WORDS = (*(a for a in ACTIONS["repository"] if a != ALL), ALL_WORD, ALL)
_Actions = Annotated[
    list[Literal[_ACTION_WORDS]],  # type: ignore[valid-type]
    FailFast(),
    Field(min_length=1, description="pull, push, delete, or all."),
]
_COMMENT = "Why it is there."
_WAS = "What it was called: if that is there, and this name is not, it is renamed."
_LIST, _MAPPING = "list", "mapping"


class PolicyPart(BaseModel):
    """A mapping of a policy: exact types, and no unknown key."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, json_schema_extra=_without_defaults
    )

    @property
    def given(self) -> dict[str, Any]:
        """The values of the keys that are there."""
        return self.model_dump(exclude_unset=True)


class PolicyRegistry(PolicyPart):
    """A registry entry."""

    token_ttl: _Seconds = optional(
        f"Life of its tokens, {TTL_MIN} to {TTL_MAX}; otherwise the setting's."
    )
    refresh_tokens: _Flag = optional("Whether docker login keeps a refresh token; true.")
    app_tokens_only: _Flag = optional("Whether it takes app tokens only, no password; false.")
    challenge_anonymous: _Flag = optional(
        "Whether a request without credentials that is not granted all gets a 401; false."
    )


class PolicyAccount(PolicyPart):
    """A user or a robot."""

    kind: Literal[tuple(map(str, AccountKind))] = Field(  # type: ignore[valid-type]
        description="A person, or a program."
    )
    disabled: _Flag = optional("If left out, as it is; a new account starts disabled.")
    admin: _Flag = optional("Whether a user may administer; false.")
    auditor: _Flag = optional("Whether a user may read all that an administrator reads; false.")
    app_tokens_only: _Flag = optional(
        "Whether a user gets registry tokens with app tokens only, not the password; false."
    )
    owner: _Name = optional("The user who answers for a robot.")
    description: str = optional("What a robot is for.")
    outlives_owner: _Flag = optional(
        "Whether a robot stays enabled when its owner is disabled; false."
    )
    was: _Name = optional(_WAS)


class PolicyGroup(PolicyPart):
    """A group."""

    members: _Texts = optional("Its members: user:NAME or robot:NAME.")
    was: _Name = optional(_WAS)


class _UnconditionalRule(PolicyPart):
    effect: Literal[tuple(map(str, Effect))] = Field(  # type: ignore[valid-type]
        description="A deny always wins."
    )
    subjects: _Names = Field(
        description="user:NAME, robot:NAME, group:NAME, anonymous, authenticated or everyone."
    )
    patterns: _Names = Field(
        description="Whole names: * within a segment, ** for one or more segments, {account} for "
        "the asking account's name."
    )
    actions: _Actions
    type: Literal[tuple(ACTIONS)] = optional(  # type: ignore[valid-type]
        "The resource type; repository."
    )
    registry: _Name = optional("Only on this registry; otherwise on every one.")
    enabled: _Flag = optional("Whether it holds at all; true.")
    comment: str = optional(_COMMENT)


def _condition(field: ConditionField) -> tuple[Any, Any]:
    kind = _Time if field.kind is ValueKind.TIME else _Texts
    return kind, optional(field.description)


_CONDITIONS: dict[str, Any] = {name: _condition(field) for name, field in FIELDS.items()}

PolicyRule: Any = create_model(
    "PolicyRule", __base__=_UnconditionalRule, __doc__="A rule.", **_CONDITIONS
)


class PolicyDelegation(PolicyPart):
    """A delegation."""

    group: _Name = Field(description="Whose members may write allows.")
    registry: _Name = Field(description="On this registry.")
    pattern: _Name = Field(description="Within this pattern.")
    actions: _Actions
    comment: str = optional(_COMMENT)


def _form(group: object) -> str:
    return _MAPPING if isinstance(group, dict | PolicyGroup) else _LIST


_Group = Annotated[
    Annotated[_Texts, Tag(_LIST)] | Annotated[PolicyGroup, Tag(_MAPPING)], Discriminator(_form)
]


class PolicySections(PolicyPart):
    """A policy. A section that is not in it is left alone."""

    registries: dict[str, PolicyRegistry | None] = optional(
        "The registry entries, by their service string."
    )
    accounts: dict[str, PolicyAccount] = optional(
        "Users and robots, by name. Passwords and tokens are never in a file."
    )
    groups: dict[str, _Group] = optional(
        "Groups, each with a list of its members: user:NAME or robot:NAME; or as a mapping."
    )
    rules: list[PolicyRule] = optional("The rules. Their order never matters.")
    delegations: list[PolicyDelegation] = optional(
        "Leave for the members of groups to write rules."
    )
    tests: list[str] = optional("What must hold, as in 'alice can push team/app'.")


PARTS: dict[str, type[PolicyPart]] = {
    "registries": PolicyRegistry,
    "accounts": PolicyAccount,
    "groups": PolicyGroup,
    "rules": PolicyRule,
    "delegations": PolicyDelegation,
}
"""What the entries of a section are, where they are mappings."""


def without_form(place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return a place as a file has it: pydantic adds in which form it read a group."""
    is_form = place[:1] == ("groups",) and place[2:3] in ((_LIST,), (_MAPPING,))
    return place[:2] + place[3:] if is_form else place


class _FileSchema(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False


def schema() -> dict[str, Any]:
    """Return the JSON Schema. A file may be refused for more than a schema can say."""
    made = PolicySections.model_json_schema(schema_generator=_FileSchema)
    parts = made.pop("$defs")
    del made["description"]
    inlined: dict[str, Any] = _inlined(made, parts)
    # Only an assertion may stand there twice.
    del inlined["properties"]["tests"]["uniqueItems"]
    return {"$schema": GenerateJsonSchema.schema_dialect} | inlined | {"title": "authserver policy"}


def _inlined(node: Any, parts: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    """Put each part in the place of what refers to it: editors show it there."""
    if isinstance(node, list):
        return [_inlined(each, parts) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        part = parts[node["$ref"].rpartition("/")[2]]
        return _inlined({k: v for k, v in part.items() if k not in ("title", "description")}, parts)
    unique = {"uniqueItems": True} if node.get("items", {}).get("type") == "string" else {}
    return {key: _inlined(value, parts) for key, value in node.items()} | unique

"""The keys of a policy file, and the JSON Schema that is made from them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from authserver.core.conditions import FIELDS, ValueKind
from authserver.core.rules import ACTIONS, ALL, Effect
from authserver.core.subjects import AccountKind
from authserver.registry.entries import TTL_MAX, TTL_MIN


class Kind(StrEnum):
    TEXT = "a text"
    LINE = "one line of text"
    FLAG = "true or false"
    SECONDS = "a number of seconds"
    TIME = "a date, or a time with its zone"
    TEXTS = "a list of texts"


@dataclass(frozen=True, slots=True)
class Field:
    """One key: its kind, what it is about, and what is taken where that is a choice."""

    kind: Kind
    about: str
    required: bool = False
    choices: tuple[str, ...] = ()


Fields = dict[str, Field]

ALL_WORD = "all"


_ACTION_WORDS = (*(a for a in ACTIONS["repository"] if a != ALL), ALL_WORD, ALL)

_ACTIONS = Field(Kind.TEXTS, "pull, push, delete, or all.", required=True, choices=_ACTION_WORDS)


_COMMENT = Field(Kind.LINE, "Why it is there.")

REGISTRY: Fields = {
    "token_ttl": Field(
        Kind.SECONDS, f"Life of its tokens, {TTL_MIN} to {TTL_MAX}; otherwise the setting's."
    ),
    "refresh_tokens": Field(Kind.FLAG, "Whether docker login keeps a refresh token; true."),
}

ACCOUNT: Fields = {
    "kind": Field(
        Kind.TEXT,
        "A person, or a program.",
        required=True,
        choices=tuple(map(str, AccountKind)),
    ),
    "disabled": Field(
        Kind.FLAG, "Left as it is where this is not said; a new account starts disabled."
    ),
    "admin": Field(Kind.FLAG, "Whether a user may administer; false."),
    "owner": Field(Kind.TEXT, "The user who answers for a robot."),
    "description": Field(Kind.LINE, "What a robot is for."),
    "outlives_owner": Field(
        Kind.FLAG, "Whether a robot stays enabled when its owner is disabled; false."
    ),
}

RULE: Fields = {
    "effect": Field(
        Kind.TEXT, "A deny always wins.", required=True, choices=tuple(map(str, Effect))
    ),
    "subjects": Field(
        Kind.TEXTS,
        "user:NAME, robot:NAME, group:NAME, anonymous, authenticated or everyone.",
        required=True,
    ),
    "patterns": Field(
        Kind.TEXTS,
        "Whole names: * within a segment, ** for one or more segments, {account} for the asking "
        "account's name.",
        required=True,
    ),
    "actions": _ACTIONS,
    "type": Field(Kind.TEXT, "The resource type; repository.", choices=tuple(ACTIONS)),
    "registry": Field(Kind.TEXT, "Only on this registry; otherwise on every one."),
    **{
        name: Field(Kind.TIME if field.kind is ValueKind.TIME else Kind.TEXTS, field.description)
        for name, field in FIELDS.items()
    },
    "enabled": Field(Kind.FLAG, "Whether it holds at all; true."),
    "comment": _COMMENT,
}

DELEGATION: Fields = {
    "group": Field(Kind.TEXT, "Whose members may write allows.", required=True),
    "registry": Field(Kind.TEXT, "On this registry.", required=True),
    "pattern": Field(Kind.TEXT, "Within this pattern.", required=True),
    "actions": _ACTIONS,
    "comment": _COMMENT,
}

SECTIONS = {
    "registries": "The registry entries, by their service string.",
    "accounts": "Users and robots, by name. Passwords and tokens are never in a file.",
    "groups": "Groups, each with a list of its members: user:NAME or robot:NAME.",
    "rules": "The rules. Their order never matters.",
    "delegations": "Leave for the members of groups to write rules.",
    "tests": "What must hold, as in 'alice can push team/app'.",
}

DATE = "^[0-9]{4}-[0-9]{2}-[0-9]{2}"

_TEXTS = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}

_KINDS: dict[Kind, dict[str, Any]] = {
    Kind.TEXT: {"type": "string", "minLength": 1},
    Kind.LINE: {"type": "string"},
    Kind.FLAG: {"type": "boolean"},
    Kind.SECONDS: {"type": "integer", "minimum": TTL_MIN, "maximum": TTL_MAX},
    # A date without quotes is a date to YAML 1.1 and a text to YAML 1.2.
    Kind.TIME: {"type": "string", "pattern": DATE},
    Kind.TEXTS: _TEXTS,
}


def schema() -> dict[str, Any]:
    """Return the schema. A file may be refused for more than a schema can say."""
    section: dict[str, Any] = {
        "registries": _named({"anyOf": [_object(REGISTRY), {"type": "null"}]}),
        "accounts": _named(_object(ACCOUNT)),
        "groups": _named(_TEXTS),
        "rules": {"type": "array", "items": _object(RULE)},
        "delegations": {"type": "array", "items": _object(DELEGATION)},
        "tests": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "authserver policy",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"description": about} | section[name] for name, about in SECTIONS.items()
        },
    }


def _named(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


def _object(known: Fields) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, about in known.items() if about.required],
        "properties": {name: _property(about) for name, about in known.items()},
    }


def _property(about: Field) -> dict[str, Any]:
    made = {"description": about.about} | _KINDS[about.kind]
    if about.kind is Kind.TEXTS:
        items = {"enum": list(about.choices)} if about.choices else {"type": "string"}
        made |= {"items": items} | ({"minItems": 1} if about.required else {})
    elif about.choices:
        made |= {"enum": list(about.choices)}
    return made

"""The keys of a policy file: what each is, for reading it and for the JSON Schema."""

from dataclasses import dataclass
from enum import StrEnum

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
    "networks": Field(Kind.TEXTS, "Only for requests from these networks."),
    "valid_from": Field(Kind.TIME, "It holds from then on."),
    "valid_until": Field(Kind.TIME, "It holds until then."),
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

"""The JSON Schema of policy files, made from the keys that reading them knows."""

from typing import Any

from authserver.policy.files import fields
from authserver.policy.files.fields import Field, Fields, Kind
from authserver.registry.entries import TTL_MAX, TTL_MIN

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
        "registries": _named({"anyOf": [_object(fields.REGISTRY), {"type": "null"}]}),
        "accounts": _named(_object(fields.ACCOUNT)),
        "groups": _named(_TEXTS),
        "rules": {"type": "array", "items": _object(fields.RULE)},
        "delegations": {"type": "array", "items": _object(fields.DELEGATION)},
        "tests": {"type": "array", "items": {"type": "string"}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "authserver policy",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"description": about} | section[name] for name, about in fields.SECTIONS.items()
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

"""The OpenAPI 3.1 document, made from the declared operations."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import (
    CoreModeRef,
    CoreRef,
    DefsRef,
    GenerateJsonSchema,
    JsonSchemaMode,
    models_json_schema,
)

import authserver
from authserver.web.api import PREFIX
from authserver.web.api.caller import Need
from authserver.web.api.models import MAX_ID, ApiProblem, schema_name
from authserver.web.api.operations import Operation, Operations
from authserver.web.api.parsing import MEDIA_TYPE as JSON
from authserver.web.api.problems import MEDIA_TYPE

_REF = "#/components/schemas/{model}"
_PARAMETERS: dict[str, dict[str, Any]] = {
    "name": {"type": "string", "minLength": 1},
    "kind": {"type": "string", "enum": ["change", "token"]},
    "service": {"type": "string", "minLength": 1},
    "id": {"type": "integer", "minimum": 0, "maximum": MAX_ID},
}
_ETAG = {"ETag": {"description": "The state's tag, for If-Match.", "schema": {"type": "string"}}}


class _Schemas(GenerateJsonSchema):
    """Names schemas as :func:`models.schema_name` does; fields have no title beside their name."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False

    def get_defs_ref(self, core_mode_ref: CoreModeRef) -> DefsRef:
        ref, mode = core_mode_ref
        module, _, name = ref.rpartition(".")
        return super().get_defs_ref((CoreRef(f"{module}.{schema_name(name)}"), mode))


@cache
def text(nouns: tuple[Operations, ...]) -> str:
    """Return the document as it is served."""
    return json.dumps(document(nouns), indent=2) + "\n"


def document(nouns: Sequence[Operations]) -> dict[str, Any]:
    """Return the document of all operations."""
    operations = [operation for noun in nouns for operation in noun.operations]
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _operation(operation)
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "authserver admin API",
            "version": authserver.__version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": noun.tag, "description": noun.description} for noun in nouns],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "responses": {"Problem": _content("A problem.", ApiProblem, MEDIA_TYPE)},
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": f"Takes {operation.need.text}.",
        "security": [] if operation.need is Need.NOTHING else [{"basic": []}],
        "parameters": [*_parameters(operation)],
        "responses": {
            **{str(status): _success(operation, status) for status in _statuses(operation)},
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": _ref(operation.body)}},
        }
    return described


def _statuses(operation: Operation) -> tuple[int, ...]:
    return (200, 201) if operation.creates else (operation.status,)


def _success(operation: Operation, status: int) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    response: dict[str, Any] = {"description": phrase}
    if operation.answer is not None:
        response = _content(phrase, operation.answer, JSON)
    return response | ({"headers": _ETAG} if operation.tagged else {})


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for name, schema in _PARAMETERS.items():
        if f"{{{name}}}" in operation.path:
            yield {"name": name, "in": "path", "required": True, "schema": schema}
    query = operation.query.model_json_schema(schema_generator=_Schemas)
    for name, schema in query.get("properties", {}).items():
        yield {
            "name": name,
            "in": "query",
            "required": name in query.get("required", []),
            "description": schema.pop("description", ""),
            "schema": schema,
        }
    if operation.conditional:
        yield _header(
            "If-Match", "The ETag of the state that was seen.", required=not operation.creates
        )
    if operation.creates:
        yield _header("If-None-Match", "Only if it is not there.", const="*")


def _header(name: str, description: str, *, required: bool = False, **more: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string"} | more,
    }


def _content(description: str, model: type[BaseModel], media_type: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": _ref(model)}}}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=schema_name(model.__name__))}


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    models: dict[type[BaseModel], JsonSchemaMode] = {ApiProblem: "serialization"}
    for operation in operations:
        if operation.body is not None:
            models[operation.body] = "validation"
        if operation.answer is not None:
            models[operation.answer] = "serialization"
    _, schemas = models_json_schema([*models.items()], ref_template=_REF, schema_generator=_Schemas)
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions

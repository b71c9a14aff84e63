"""A policy as JSON: the same document as the file, with the same keys."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, create_model

from authserver.policy.files import schema
from authserver.policy.files.schema import DATE, Fields, Kind
from authserver.registry.entries import TTL_MAX, TTL_MIN
from authserver.web.api.models import WHOLE, ApiAnswer, ApiBody, without_default


class Document(ApiBody, ApiAnswer):
    """A part of a policy. What is not said is left out."""

    sparse: ClassVar[bool] = True


_TYPES: dict[Kind, Any] = {
    Kind.TEXT: Annotated[str, Field(min_length=1)],
    Kind.LINE: str,
    Kind.FLAG: bool,
    Kind.SECONDS: Annotated[int, Field(ge=TTL_MIN, le=TTL_MAX), WHOLE],
    Kind.TIME: Annotated[str, Field(pattern=DATE)],
    Kind.TEXTS: list[str],
}


def _field(about: schema.Field) -> tuple[Any, Any]:
    kind = _TYPES[about.kind]
    if about.choices:
        chosen: Any = Literal[about.choices]
        kind = list[chosen] if about.kind is Kind.TEXTS else chosen
    least = 1 if about.kind is Kind.TEXTS and about.required else None
    if about.required:
        return kind, Field(description=about.about, min_length=least)
    return kind, _optional(about.about)


def _optional(about: str) -> Any:  # noqa: ANN401 - as Field has it
    return Field(default=None, description=about, json_schema_extra=without_default)


def _part(name: str, about: str, known: Fields) -> Any:  # noqa: ANN401 - a type
    declared: dict[str, Any] = {key: _field(each) for key, each in known.items()}
    return create_model(name, __base__=Document, __doc__=about, **declared)


def _sections() -> dict[str, Any]:
    registry: Any = _part("PolicyRegistry", "A registry entry.", schema.REGISTRY)
    account: Any = _part("PolicyAccount", "A user or a robot.", schema.ACCOUNT)
    rule: Any = _part("PolicyRule", "A rule.", schema.RULE)
    delegation: Any = _part("PolicyDelegation", "A delegation.", schema.DELEGATION)
    kinds = {
        "registries": dict[str, registry],
        "accounts": dict[str, account],
        "groups": dict[str, list[str]],
        "rules": list[rule],
        "delegations": list[delegation],
        "tests": list[str],
    }
    return {name: (kinds[name], _optional(about)) for name, about in schema.SECTIONS.items()}


def _document() -> type[Document]:
    about = "A policy. A section that is not in it is left alone."
    made: type[Document] = create_model(
        "PolicyDocument", __base__=Document, __doc__=about, **_sections()
    )
    return made


PolicyDocument = _document()

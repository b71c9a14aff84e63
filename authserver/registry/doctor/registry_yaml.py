"""YAML as the registry reads it: Distribution 2.8 and 3.x use gopkg.in/yaml.v2, version 2.4.0.

It differs from PyYAML: only the first document counts, `y` is a boolean and `10:30` a string, `1e3`
is a number, a tag that it does not know means nothing, and `<<` overwrites what stands before it.
"""

import math
import re
from typing import Any, ClassVar

import yaml

_TAG = "tag:yaml.org,2002:"
_STRING, _NUMBER, _MERGE = _TAG + "str", _TAG + "float", _TAG + "merge"
_WORDS = {
    word: _TAG + name
    for name, words in {
        "bool": "y Y yes Yes YES true True TRUE on On ON "
        "n N no No NO false False FALSE off Off OFF",
        "null": "~ null Null NULL",
        "float": ".nan .NaN .NAN .inf .Inf .INF +.inf +.Inf +.INF -.inf -.Inf -.INF",
        "merge": "<<",
    }.items()
    for word in words.split()
} | {"": _TAG + "null"}
_TRUE = frozenset({"y", "yes", "true", "on"})

_SIGNS = "+-0123456789"
_between_digits = re.compile("(?<=[0-9])_(?=[0-9])")
_integer = re.compile(r"[-+]?(?:0|[1-9][0-9]*|0[0-7]+|0[xXoObB][0-9A-Fa-f]+)")
_decimal = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_other_base = re.compile(r"([-+]?)0[xXoObB][0-9A-Fa-f]+")


def read(text: str) -> Any:  # noqa: ANN401 - the file decides
    """Return the first document's value, None if there is none; any number is 1.0.

    Raises:
        yaml.YAMLError: the registry could not read it either.
    """
    loader = _Loader(text)
    try:
        return loader.get_data()
    finally:
        loader.dispose()


def _tag_of(text: str) -> str:
    """Return the tag of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        return _NUMBER if _is_number(_between_digits.sub("", text)) else _STRING
    return _NUMBER if text[0] in _SIGNS and _is_number(text.replace("_", "")) else _STRING


def _is_number(text: str) -> bool:
    if _decimal.fullmatch(text):
        return math.isfinite(float(text))
    if (matched := _other_base.fullmatch(text)) is None:
        return False
    try:
        return -(1 << 63) <= int(text, 0) < 1 << (63 if matched[1] else 64)
    except ValueError:
        return False


class _Loader(yaml.SafeLoader):
    """Builds mappings whose keys are texts, as the sections of a registry's options have them."""

    yaml_constructors: ClassVar[dict[Any, Any]] = {}

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:  # noqa: ANN401
        if kind is yaml.ScalarNode and implicit[0]:
            return _tag_of(value)
        return {yaml.ScalarNode: _STRING, yaml.SequenceNode: _TAG + "seq"}.get(kind, _TAG + "map")

    def construct_any(self, node: yaml.Node) -> Any:  # noqa: ANN401
        if isinstance(node, yaml.SequenceNode):
            return [self.construct_object(item, deep=True) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        return self._scalar(node.tag, node.value)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                others = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for other in reversed(others):
                    merged = self.construct_object(other, deep=True)
                    if not isinstance(merged, dict):
                        raise yaml.constructor.ConstructorError(
                            None, None, "a merge of what is no mapping", key.start_mark
                        )
                    found |= merged
            elif isinstance(key, yaml.ScalarNode):
                found[key.value] = self.construct_object(value, deep=True)
        return found

    def _scalar(self, tag: str, value: str) -> Any:  # noqa: ANN401
        if tag in (_TAG + "bool", _TAG + "null", _TAG + "int", _NUMBER):
            found = _tag_of(value)
            is_int = tag == _TAG + "int"
            if found != (_NUMBER if is_int else tag) or (
                is_int and not _integer.fullmatch(value.replace("_", ""))
            ):
                raise yaml.YAMLError(f"cannot decode {value} as {tag}")
            return {_NUMBER: 1.0, _TAG + "null": None}.get(found, value.lower() in _TRUE)
        return value


_Loader.add_constructor(None, _Loader.construct_any)

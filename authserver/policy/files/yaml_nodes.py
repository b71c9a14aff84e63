"""YAML as the author wrote it: texts, lists and mappings, each with its line.

Nothing is guessed: every scalar is the text that stands in the file, so that ``no``, ``1e3`` and
``2026-01-01`` are the names that they look like. Aliases, tags and several documents are refused.
A policy that came as plain values has a path in place of each line.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from authserver.policy.files.document import BadPolicy, PolicyProblem

MAX_SIZE = 16 * 2**20
TOO_DEEP = "nested too deeply"
MAX_DEPTH = 8

# libyaml's parser where there is one: it is ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


Place = tuple[str | int, ...]
"""The keys and positions that lead to a value."""


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar; ``plain`` where it was written without quotes."""

    text: str
    plain: bool
    line: int


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    items: list["Node"]
    line: int


@dataclass(frozen=True, slots=True)
class Pairs:
    """A mapping, in the order in which it was written; a key that is repeated is in it twice."""

    pairs: list[tuple[Text, "Node"]]
    line: int


Node = Text | Items | Pairs


def read(content: bytes, file: str) -> Node | None:
    """Read one document; None if there is nothing in it.

    Raises:
        BadPolicy: it is too large, no UTF-8, no YAML, or has in it what is not taken.
    """
    if len(content) > MAX_SIZE:
        raise BadPolicy(
            file, [PolicyProblem(1, f"the file is larger than {MAX_SIZE // 2**20} MiB")]
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadPolicy(file, [PolicyProblem(line, "not UTF-8 text")]) from None
    try:
        return _Builder(file, yaml.parse(text, Loader=_Loader)).document()
    except yaml.YAMLError as error:
        raise BadPolicy(file, [_not_yaml(error, text)]) from None


def _not_yaml(error: yaml.YAMLError, text: str) -> PolicyProblem:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        line, why = error.problem_mark.line + 1, str(error.problem)
        if "nesting depth" in why:
            return PolicyProblem(line, TOO_DEEP)
    else:
        position = getattr(error, "position", 0) or 0
        return PolicyProblem(
            text.count("\n", 0, position) + 1, "a character that YAML does not take"
        )
    hint = "quote what begins with * { [ & ! % @ or has ': ' in it"
    return PolicyProblem(line, f"not to be read as YAML: {why}; {hint}")


@dataclass
class _Builder:
    file: str
    events: Iterator[yaml.Event]
    depth: int = 0

    def document(self) -> Node | None:
        next(self.events)
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        root = self.node(next(self.events))
        next(self.events)
        following = next(self.events)
        if not isinstance(following, yaml.StreamEndEvent):
            self.refuse(following, "a second document: a policy is one")
        return None if isinstance(root, Text) and root.plain and not root.text else root

    def node(self, event: yaml.Event) -> Node:
        line = _line(event)
        self.require_harmless(event)
        if isinstance(event, yaml.ScalarEvent):
            return Text(event.value, plain=not event.style, line=line)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.refuse(event, TOO_DEEP)
        node = (
            Items([self.node(each) for each in self.until(yaml.SequenceEndEvent)], line)
            if isinstance(event, yaml.SequenceStartEvent)
            else Pairs(list(self.pairs()), line)
        )
        self.depth -= 1
        return node

    def pairs(self) -> Iterator[tuple[Text, Node]]:
        for event in self.until(yaml.MappingEndEvent):
            key = self.node(event)
            if not isinstance(key, Text):
                self.refuse(event, "a key is a text; quote what begins with { or [")
            yield key, self.node(next(self.events))

    def until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        while not isinstance(event := next(self.events), end):
            yield event

    def require_harmless(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            self.refuse(event, f"*{event.anchor} is an alias, which is not taken; quote a pattern")
        if getattr(event, "anchor", None):
            self.refuse(event, f"&{getattr(event, 'anchor', '')} is an anchor, which is not taken")
        if getattr(event, "tag", None):
            self.refuse(event, f"the tag {getattr(event, 'tag', '')} is not taken")

    def refuse(self, event: yaml.Event, why: str) -> NoReturn:
        raise BadPolicy(self.file, [PolicyProblem(_line(event), why)])


def _line(event: yaml.Event) -> int:
    # Each event of a parser has its mark; only those made by hand have none.
    return event.start_mark.line + 1 if event.start_mark else 1


@dataclass
class Placing:
    """Makes nodes of values; the line of each is its position in ``places``."""

    places: list[Place] = field(default_factory=lambda: [()])

    def node(self, value: Any, place: Place = ()) -> Node:  # noqa: ANN401 - any plain value
        """Return a value as if it stood in a file: a text as it would within quotes."""
        line = len(self.places)
        self.places.append(place)
        match value:
            case dict():
                return Pairs([self._pair(place, *pair) for pair in value.items()], line)
            case list():
                items = [self.node(each, (*place, at)) for at, each in enumerate(value)]
                return Items(items, line)
            case str():
                return Text(value, plain=False, line=line)
        return Text(_bare(value), plain=True, line=line)

    def _pair(self, place: Place, key: str, value: Any) -> tuple[Text, Node]:  # noqa: ANN401
        node = self.node(value, (*place, key))
        return Text(key, plain=False, line=node.line), node


def _bare(value: bool | int | None) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)

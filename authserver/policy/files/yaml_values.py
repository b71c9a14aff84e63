"""YAML as the author wrote it: plain values, and the line of each.

Nothing is guessed: every scalar is the text that stands in the file, so that ``no``, ``1e3`` and
``2026-01-01`` are the names that they look like. Aliases, tags and several documents are refused;
``yaml.compose`` would resolve them before anybody can see them, so this reads the parser's events.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from authserver.policy.files.document import BadPolicy, Location, Place, PolicyProblem
from authserver.policy.files.schema import BareText

MAX_SIZE = 16 * 2**20
TOO_DEEP = "nested too deeply"
MAX_DEPTH = 8

# libyaml's parser where there is one: it is ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class YamlDocument:
    """A file's value, None if there is nothing in it; and what is wrong with its keys."""

    file: str
    value: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[PolicyProblem] = field(default_factory=list)


def read(content: bytes, file: str) -> YamlDocument:
    """Read one document.

    Raises:
        BadPolicy: it is too large, no UTF-8, no YAML, or has in it what is not taken.
    """
    if len(content) > MAX_SIZE:
        size = f"the file is larger than {MAX_SIZE // 2**20} MiB"
        raise BadPolicy(file, [_problem(1, size)])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadPolicy(file, [_problem(line, "not UTF-8 text")]) from None
    try:
        return _Builder(YamlDocument(file), yaml.parse(text, Loader=_Loader)).build()
    except yaml.YAMLError as error:
        raise BadPolicy(file, [_syntax_problem(error, text)]) from None


def _problem(line: int, text: str) -> PolicyProblem:
    return PolicyProblem(Location((), line), text)


def _syntax_problem(error: yaml.YAMLError, text: str) -> PolicyProblem:
    if not isinstance(error, yaml.MarkedYAMLError) or not error.problem_mark:
        line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
        return _problem(line, "a character that YAML does not take")
    line, reason = error.problem_mark.line + 1, str(error.problem)
    if "nesting depth" in reason:
        return _problem(line, TOO_DEEP)
    hint = "quote what begins with * { [ & ! % @ or has ': ' in it"
    return _problem(line, f"not to be read as YAML: {reason}; {hint}")


@dataclass
class _Builder:
    document: YamlDocument
    events: Iterator[yaml.Event]
    depth: int = 0

    def build(self) -> YamlDocument:
        next(self.events)
        if isinstance(next(self.events), yaml.StreamEndEvent):
            self.document.lines[()] = 1
            return self.document
        self.document.value = self.value(next(self.events), ())
        next(self.events)
        following = next(self.events)
        if not isinstance(following, yaml.StreamEndEvent):
            self.refuse(following, "a second document: a policy is one")
        return self.document

    def value(self, event: yaml.Event, place: Place) -> Any:  # noqa: ANN401 - any plain value
        self.document.lines.setdefault(place, _line(event))
        self.require_harmless(event)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.refuse(event, TOO_DEEP)
        if isinstance(event, yaml.SequenceStartEvent):
            items = enumerate(self.until(yaml.SequenceEndEvent))
            value: Any = [self.value(each, (*place, number)) for number, each in items]
        else:
            value = self.mapping(place)
        self.depth -= 1
        return value

    def mapping(self, place: Place) -> dict[str, Any]:
        """Return a mapping; of a key that is there twice the first."""
        mapping: dict[str, Any] = {}
        for event in self.until(yaml.MappingEndEvent):
            self.require_harmless(event)
            if not isinstance(event, yaml.ScalarEvent):
                self.refuse(event, "a key is a text; quote what begins with { or [")
            key, own = event.value, (*place, event.value)
            if key in mapping:
                text = f"{key} is there already, on line {self.document.lines[own]}"
                location = Location(own, _line(event))
                self.document.problems.append(PolicyProblem(location, text))
                self.value(next(self.events), own)
            else:
                self.document.lines[own] = _line(event)
                mapping[key] = self.value(next(self.events), own)
        return mapping

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

    def refuse(self, event: yaml.Event, reason: str) -> NoReturn:
        raise BadPolicy(self.document.file, [_problem(_line(event), reason)])


def _scalar(event: yaml.ScalarEvent) -> str | None:
    if event.style:
        return str(event.value)
    return BareText(event.value) if event.value else None


def _line(event: yaml.Event) -> int:
    # Each event of a parser has its mark; only those made by hand have none.
    return event.start_mark.line + 1 if event.start_mark else 1

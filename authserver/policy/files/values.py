"""Reading the parts of a policy file: mappings, lists and values, each problem with its line."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any, TypeVar

from authserver.core.conditions import moment
from authserver.core.errors import Refused
from authserver.policy.files.document import Problem
from authserver.policy.files.fields import Field, Fields, Kind
from authserver.policy.files.yaml_nodes import Items, Node, Pairs, Text

_T = TypeVar("_T")

_FLAGS = {"true": True, "false": False}


@dataclass
class Reader:
    """Reads node by node. What cannot be read is a problem, and None or nothing."""

    problems: list[Problem] = field(default_factory=list)

    def named(
        self,
        node: Node,
        what: str,
        name_of: Callable[[str], str],
        alike: Callable[[str], str],
        read: Callable[[str, Text, Node], _T | None],
    ) -> Iterator[tuple[str, _T]]:
        """Give what a mapping from names says; no two names are ``alike``."""
        if not isinstance(node, Pairs):
            self.wrong(node, f"{what} is a mapping from names; write {{}} for none")
            return
        lines: dict[str, tuple[str, int]] = {}
        for key, value in node.pairs:
            name = self.good(key, name_of, key.text)
            if name is None:
                continue
            if alike(name) in lines:
                other, line = lines[alike(name)]
                hint = "" if other == name else ": names must differ in more than case"
                self.wrong(key, f"{name} is there already, as {other} on line {line}{hint}")
                continue
            lines[alike(name)] = name, key.line
            if (one := read(name, key, value)) is not None:
                yield name, one

    def fields(self, node: Node, known: Fields) -> dict[str, Any]:
        """Return the values of a mapping's keys, as far as they are good."""
        if not isinstance(node, Pairs):
            self.wrong(node, f"a mapping is needed here, with the keys {', '.join(known)}")
            return {}
        given = self.known(node, tuple(known))
        for key in (key for key, about in known.items() if about.required and key not in given):
            self.wrong(node, f"{key} is missing")
        read = {key: self.value(key, known[key], each) for key, each in given.items()}
        return {key: value for key, value in read.items() if value is not None}

    def known(self, node: Pairs, known: Sequence[str]) -> dict[str, Node]:
        """Return the values of known keys."""
        found: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key, value in node.pairs:
            if key.text not in known:
                close = get_close_matches(key.text, known, 1)
                hint = f"; is {close[0]} meant?" if close else f"; known: {', '.join(known)}"
                self.wrong(key, f"unknown key {key.text!r}{hint}")
            elif key.text in found:
                self.wrong(key, f"{key.text} is there already, on line {lines[key.text]}")
            else:
                found[key.text], lines[key.text] = value, key.line
        return found

    def value(self, key: str, about: Field, node: Node) -> Any:  # noqa: ANN401 - by its kind
        if about.kind is Kind.TEXTS:
            texts = self.texts(node, key)
            for text in texts:
                self.chosen(key, about, text)
            if not texts and about.required:
                self.wrong(node, f"{key} names none")
            return texts
        if not isinstance(node, Text):
            self.wrong(node, f"{key} is {about.kind}")
            return None
        if node.plain and not node.text:
            self.wrong(node, f"{key} has no value: leave the key out, or write ''")
            return None
        chosen = self.chosen(key, about, node)
        return self.good(node, _READ[about.kind], key, node) if chosen else None

    def chosen(self, key: str, about: Field, text: Text) -> bool:
        """Whether a text is one of those that are taken."""
        if not about.choices or text.text in about.choices:
            return True
        self.wrong(text, f"{key}: {text.text!r} is none of {', '.join(about.choices)}")
        return False

    def texts(self, node: Node, what: str) -> list[Text]:
        found = []
        for item in self.items(node, what):
            if isinstance(item, Text) and (item.text or not item.plain):
                found.append(item)
            else:
                self.wrong(item, f"{what}: a text is needed here")
        return found

    def items(self, node: Node, what: str) -> list[Node]:
        if isinstance(node, Items):
            return node.items
        self.wrong(node, f"{what} is a list; write [] for none")
        return []

    def good(self, node: Node, make: Callable[..., _T], *args: object, **more: object) -> _T | None:
        """Return what ``make`` makes; what it refuses is a problem of ``node``."""
        try:
            return make(*args, **more)
        except Refused as error:
            self.wrong(node, str(error))
            return None

    def wrong(self, node: Node | None, text: str) -> None:
        self.problems.append(Problem(node.line if node else 1, text))


def _text(_: str, node: Text) -> str:
    return node.text


def _line(key: str, node: Text) -> str:
    if not node.text.isprintable():
        raise Refused(f"{key} is one line of printable text")
    return node.text


def _flag(key: str, node: Text) -> bool:
    if not node.plain or node.text not in _FLAGS:
        raise Refused(f"{key} is true or false, not {node.text!r}")
    return _FLAGS[node.text]


def _seconds(key: str, node: Text) -> int:
    if not node.plain or not re.fullmatch(r"[0-9]{1,9}", node.text):
        raise Refused(f"{key} is a whole number of seconds, not {node.text!r}")
    return int(node.text)


def _time(key: str, node: Text) -> datetime:
    try:
        return moment(node.text)
    except Refused as error:
        raise Refused(f"{key}: {error}") from None


_READ: dict[Kind, Callable[[str, Text], Any]] = {
    Kind.TEXT: _text,
    Kind.LINE: _line,
    Kind.FLAG: _flag,
    Kind.SECONDS: _seconds,
    Kind.TIME: _time,
}

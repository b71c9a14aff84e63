"""Reading a policy file. All that is wrong with it is said at once, each with its line."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any, TypeVar

from authserver.core.conditions import FIELDS, ConditionField, Value, ValueKind
from authserver.core.errors import Refused
from authserver.core.names import account_name, folded, service_name
from authserver.core.rules import Effect, Rule, new_rule, rule_actions, rule_pattern
from authserver.core.subjects import AccountKind, Subject, SubjectKind, subject
from authserver.core.times import parse_time
from authserver.policy.files import schema, yaml_nodes
from authserver.policy.files.document import (
    AccountEntry,
    Assertion,
    BadPolicy,
    DelegationEntry,
    GroupEntry,
    Policy,
    PolicyProblem,
    RegistryEntry,
    RuleEntry,
)
from authserver.policy.files.schema import Field, Fields, Kind
from authserver.policy.files.yaml_nodes import Items, Node, Pairs, Text
from authserver.registry.entries import TTL_MAX, TTL_MIN

_T = TypeVar("_T")

_FLAGS = {"true": True, "false": False}

_MEMBERS = (SubjectKind.USER, SubjectKind.ROBOT)


@dataclass
class Reader:
    """Reads node by node. What cannot be read is a problem, and None or nothing."""

    problems: list[PolicyProblem] = field(default_factory=list)

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
        self.problems.append(PolicyProblem(node.line if node else 1, text))


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
        return parse_time(node.text)
    except Refused as error:
        raise Refused(f"{key}: {error}") from None


_READ: dict[Kind, Callable[[str, Text], Any]] = {
    Kind.TEXT: _text,
    Kind.LINE: _line,
    Kind.FLAG: _flag,
    Kind.SECONDS: _seconds,
    Kind.TIME: _time,
}


def read(content: bytes, file: str) -> Policy:
    """Read a policy file; ``file`` is its name for messages.

    What it refers to is not looked up: that is up to whoever knows what there is.

    Raises:
        BadPolicy: anything is wrong with it.
    """
    return read_node(yaml_nodes.read(content, file), file)


def read_node(root: Node | None, file: str) -> Policy:
    """Read what a policy is made of.

    Raises:
        BadPolicy: anything is wrong with it.
    """
    reader = _Sections()
    policy = reader.policy(root, file)
    if reader.problems:
        raise BadPolicy(file, reader.problems)
    return policy


class _Sections(Reader):
    """Reads the sections of a policy file, each by the method of its name."""

    def policy(self, root: Node | None, file: str) -> Policy:
        if not isinstance(root, Pairs):
            self.wrong(root, f"a policy is a mapping with the keys {', '.join(schema.SECTIONS)}")
            return Policy(file)
        given = self.known(root, tuple(schema.SECTIONS))
        return Policy(file, **{key: getattr(self, key)(node) for key, node in given.items()})

    def registries(self, node: Node) -> dict[str, RegistryEntry]:
        return dict(self.named(node, "registries", service_name, str, self.registry))

    def registry(self, service: str, key: Text, node: Node) -> RegistryEntry | None:
        empty = isinstance(node, Text) and node.plain and not node.text
        given = self.fields(Pairs([], node.line) if empty else node, schema.REGISTRY)
        ttl = given.get("token_ttl")
        if ttl is not None and not TTL_MIN <= ttl <= TTL_MAX:
            self.wrong(node, f"token_ttl is {TTL_MIN} to {TTL_MAX} seconds, not {ttl}")
        return RegistryEntry(service, line=key.line, **given)

    def accounts(self, node: Node) -> dict[str, AccountEntry]:
        return dict(self.named(node, "accounts", account_name, folded, self.account))

    def account(self, name: str, key: Text, node: Node) -> AccountEntry | None:
        given = self.fields(node, schema.ACCOUNT)
        if "kind" not in given:
            return None
        kind = AccountKind(given.pop("kind"))
        foreign = {"owner", "description", "outlives_owner"} if kind == "user" else {"admin"}
        for stray in sorted(foreign & given.keys()):
            self.wrong(key, f"a {kind} has no {stray}")
        return AccountEntry(name, kind, line=key.line, **given)

    def groups(self, node: Node) -> dict[str, GroupEntry]:
        return dict(self.named(node, "groups", account_name, folded, self.group))

    def group(self, name: str, key: Text, node: Node) -> GroupEntry | None:
        lines: dict[Subject, int] = {}
        for text in self.texts(node, f"the members of {name}"):
            member = self.good(text, subject, text.text)
            if member is None:
                continue
            if member.kind not in _MEMBERS:
                self.wrong(text, f"a member is user:NAME or robot:NAME, not {text.text}")
            elif member in lines:
                self.wrong(text, f"{member} is in {name} already, on line {lines[member]}")
            else:
                lines[member] = text.line
        return GroupEntry(name, frozenset(lines), key.line, lines)

    def rules(self, node: Node) -> list[RuleEntry]:
        found: dict[Rule, RuleEntry] = {}
        for item in self.items(node, "rules"):
            statement = self.rule(item)
            if statement is None:
                continue
            said = statement.meaning
            if said in found:
                self.wrong(item, f"the rule on line {found[said].line} says the same")
            found.setdefault(said, statement)
        return list(found.values())

    def rule(self, node: Node) -> RuleEntry | None:
        before = len(self.problems)
        given = self.fields(node, schema.RULE)
        if len(self.problems) > before:
            return None
        kind = given.get("type", "repository")
        about = [self.good(text, subject, text.text) for text in given["subjects"]]
        for text in given["patterns"]:
            self.good(text, rule_pattern, kind, text.text)
        conditions = {
            name: self.condition(given[name], field)
            for name, field in FIELDS.items()
            if name in given
        }
        if len(self.problems) > before:
            return None
        rule = self.good(
            node,
            new_rule,
            Effect(given["effect"]),
            [one for one in about if one is not None],
            [text.text for text in given["patterns"]],
            ",".join(text.text for text in given["actions"]),
            resource_type=kind,
            service=given.get("registry"),
            enabled=given.get("enabled", True),
            **conditions,
        )
        return None if rule is None else RuleEntry(rule, given.get("comment", ""), line=node.line)

    def condition(self, given: Any, field: ConditionField) -> Value:  # noqa: ANN401 - by its kind
        """Return the value of a condition's field; each text that is no good is a problem."""
        if field.kind is ValueKind.TIME:
            time: datetime = given
            return time
        for text in given:
            self.good(text, field.check, text.text)
        return [text.text for text in given]

    def delegations(self, node: Node) -> list[DelegationEntry]:
        found: dict[tuple[object, ...], DelegationEntry] = {}
        for item in self.items(node, "delegations"):
            delegation = self.delegation(item)
            if delegation is None:
                continue
            if (key := delegation.bounds) in found:
                self.wrong(item, f"the delegation on line {found[key].line} is the same")
            found.setdefault(key, delegation)
        return list(found.values())

    def delegation(self, node: Node) -> DelegationEntry | None:
        before = len(self.problems)
        given = self.fields(node, schema.DELEGATION)
        if len(self.problems) > before:
            return None
        pattern = self.good(node, rule_pattern, "repository", given["pattern"])
        words = ",".join(text.text for text in given["actions"])
        actions = self.good(node, rule_actions, Effect.ALLOW, "repository", words)
        if pattern is None or actions is None:
            return None
        comment = given.get("comment", "")
        return DelegationEntry(
            given["group"], given["registry"], str(pattern), actions, comment, line=node.line
        )

    def tests(self, node: Node) -> list[Assertion]:
        return [Assertion(text.text, text.line) for text in self.texts(node, "tests")]

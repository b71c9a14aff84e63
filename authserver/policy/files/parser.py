"""Reading a policy file. All that is wrong with it is said at once, each with its line."""

from authserver.core.conditions import network
from authserver.core.names import account_name, folded, service_name
from authserver.core.rules import Effect, Rule, new_rule, rule_actions, rule_pattern
from authserver.core.subjects import AccountKind, Subject, SubjectKind, subject
from authserver.policy.files import fields, yaml_nodes
from authserver.policy.files.document import (
    Account,
    Assertion,
    BadPolicy,
    Delegation,
    Group,
    Policy,
    Registry,
    Statement,
)
from authserver.policy.files.values import Reader
from authserver.policy.files.yaml_nodes import Node, Pairs, Text
from authserver.registry.entries import TTL_MAX, TTL_MIN

_MEMBERS = (SubjectKind.USER, SubjectKind.ROBOT)


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
            self.wrong(root, f"a policy is a mapping with the keys {', '.join(fields.SECTIONS)}")
            return Policy(file)
        given = self.known(root, tuple(fields.SECTIONS))
        return Policy(file, **{key: getattr(self, key)(node) for key, node in given.items()})

    def registries(self, node: Node) -> dict[str, Registry]:
        return dict(self.named(node, "registries", service_name, str, self.registry))

    def registry(self, service: str, key: Text, node: Node) -> Registry | None:
        empty = isinstance(node, Text) and node.plain and not node.text
        given = self.fields(Pairs([], node.line) if empty else node, fields.REGISTRY)
        ttl = given.get("token_ttl")
        if ttl is not None and not TTL_MIN <= ttl <= TTL_MAX:
            self.wrong(node, f"token_ttl is {TTL_MIN} to {TTL_MAX} seconds, not {ttl}")
        return Registry(service, line=key.line, **given)

    def accounts(self, node: Node) -> dict[str, Account]:
        return dict(self.named(node, "accounts", account_name, folded, self.account))

    def account(self, name: str, key: Text, node: Node) -> Account | None:
        given = self.fields(node, fields.ACCOUNT)
        if "kind" not in given:
            return None
        kind = AccountKind(given.pop("kind"))
        foreign = {"owner", "description", "outlives_owner"} if kind == "user" else {"admin"}
        for stray in sorted(foreign & given.keys()):
            self.wrong(key, f"a {kind} has no {stray}")
        return Account(name, kind, line=key.line, **given)

    def groups(self, node: Node) -> dict[str, Group]:
        return dict(self.named(node, "groups", account_name, folded, self.group))

    def group(self, name: str, key: Text, node: Node) -> Group | None:
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
        return Group(name, frozenset(lines), key.line, lines)

    def rules(self, node: Node) -> list[Statement]:
        found: dict[Rule, Statement] = {}
        for item in self.items(node, "rules"):
            statement = self.rule(item)
            if statement is None:
                continue
            said = statement.saying
            if said in found:
                self.wrong(item, f"the rule on line {found[said].line} says the same")
            found.setdefault(said, statement)
        return list(found.values())

    def rule(self, node: Node) -> Statement | None:
        before = len(self.problems)
        given = self.fields(node, fields.RULE)
        if len(self.problems) > before:
            return None
        kind = given.get("type", "repository")
        about = [self.good(text, subject, text.text) for text in given["subjects"]]
        for text in given["patterns"]:
            self.good(text, rule_pattern, kind, text.text)
        for text in given.get("networks", ()):
            self.good(text, network, text.text)
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
            networks=[text.text for text in given.get("networks", ())],
            valid_from=given.get("valid_from"),
            valid_until=given.get("valid_until"),
            enabled=given.get("enabled", True),
        )
        return None if rule is None else Statement(rule, given.get("comment", ""), line=node.line)

    def delegations(self, node: Node) -> list[Delegation]:
        found: dict[tuple[object, ...], Delegation] = {}
        for item in self.items(node, "delegations"):
            delegation = self.delegation(item)
            if delegation is None:
                continue
            if (key := delegation.bounds) in found:
                self.wrong(item, f"the delegation on line {found[key].line} is the same")
            found.setdefault(key, delegation)
        return list(found.values())

    def delegation(self, node: Node) -> Delegation | None:
        before = len(self.problems)
        given = self.fields(node, fields.DELEGATION)
        if len(self.problems) > before:
            return None
        pattern = self.good(node, rule_pattern, "repository", given["pattern"])
        words = ",".join(text.text for text in given["actions"])
        actions = self.good(node, rule_actions, Effect.ALLOW, "repository", words)
        if pattern is None or actions is None:
            return None
        comment = given.get("comment", "")
        return Delegation(
            given["group"], given["registry"], str(pattern), actions, comment, line=node.line
        )

    def tests(self, node: Node) -> list[Assertion]:
        return [Assertion(text.text, text.line) for text in self.texts(node, "tests")]

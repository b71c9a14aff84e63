"""Read docker_auth's configuration file: its users, its ACL and the names of its sections.

This follows docker_auth itself (yaml.v2 into Go structs): a null condition counts as absent, a
number counts as its text, and unknown keys are ignored.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import yaml

from authserver.core.errors import Refused

AUTHENTICATION = (
    "google_auth", "github_auth", "oidc_auth", "gitlab_auth", "ldap_auth", "mongo_auth",
    "xorm_auth", "ext_auth", "plugin_authn",
)  # fmt: skip
AUTHORIZATION = ("acl_mongo", "acl_xorm", "ext_authz", "plugin_authz", "casbin_authz")

_CONDITIONS = ("account", "type", "name", "ip", "service")
_DECIDING = ("users", "acl", *AUTHENTICATION, *AUTHORIZATION)
"""A configuration has one of these at its top, or docker_auth does not start with it."""
_SECTIONS = ("server", "token", "users", "acl", *AUTHENTICATION, *AUTHORIZATION)


@dataclass(frozen=True, slots=True)
class ConfigUser:
    """One of ``users``. Without a password (None) anyone may log in with the name."""

    line: int
    name: str
    password: str | None = field(repr=False)
    usable: bool = True
    labels: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """An entry's conditions; None matches everything. Of ``labels`` only the names are kept."""

    account: str | None = None
    type: str | None = None
    name: str | None = None
    ip: str | None = None
    service: str | None = None
    labels: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AclEntry:
    """One entry of ``acl``."""

    line: int
    match: Match
    actions: tuple[str, ...]
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """The content of a configuration file.

    ``sections`` has the keys that docker_auth knows, and ``unknown`` those that it ignores, each
    with its line. ``server`` and ``token`` have the single values of these sections.
    """

    users: tuple[ConfigUser, ...]
    entries: tuple[AclEntry, ...]
    sections: dict[str, int]
    server: dict[str, str]
    token: dict[str, str]
    unknown: dict[str, int]

    @property
    def anonymous(self) -> bool:
        """Whether docker_auth passes requests without credentials on to the ACL."""
        return any(user.name == "" and user.usable and user.password is None for user in self.users)

    @property
    def closed(self) -> bool:
        """Whether docker_auth knows no accounts but those in the file."""
        return not any(section in AUTHENTICATION for section in self.sections)

    def only_on(self, service: str) -> "Config":
        """Return a copy in which entries without a service apply to this one only."""
        entries = (
            replace(entry, match=replace(entry.match, service=service))
            if entry.match.service is None
            else entry
            for entry in self.entries
        )
        return replace(self, entries=tuple(entries))


def read(content: bytes, file: str) -> Config:
    """Read a configuration; messages call it ``file``.

    Raises:
        Refused: the content is not YAML, or docker_auth would not start with it.
    """
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise Refused(f"{file}{_where(error)}: not readable as YAML: {_problem(error)}") from None
    except RecursionError:
        raise Refused(f"{file}: not readable as YAML: nested too deeply") from None
    if root is None:
        raise Refused(f"{file}: the file is empty")
    return _Reader(file, len(content)).config(root)


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or "it is not UTF-8 text")


@dataclass(slots=True)
class _Reader:
    """Reads nodes; ``left`` limits their number, since aliases repeat what they stand for."""

    file: str
    left: int

    def config(self, root: yaml.Node) -> Config:
        parts = dict(self._pairs(root, "the configuration"))
        if parts.keys().isdisjoint(_DECIDING):
            raise self._refused(root, _elsewhere(root) or _NOT_ONE)
        lines = {key: _line(node) for key, node in parts.items()}
        nodes = {key: node for key, node in parts.items() if not _is_null(node)}
        return Config(
            users=tuple(self._users(nodes["users"])) if "users" in nodes else (),
            entries=tuple(self._entries(nodes["acl"])) if "acl" in nodes else (),
            sections={key: lines[key] for key in _SECTIONS if key in nodes},
            server=self._texts(nodes, "server"),
            token=self._texts(nodes, "token"),
            unknown={key: line for key, line in lines.items() if key not in _SECTIONS},
        )

    def _texts(self, parts: dict[str, yaml.Node], section: str) -> dict[str, str]:
        pairs = self._pairs(parts[section], section) if section in parts else ()
        return {key: value.value for key, value in pairs if isinstance(value, yaml.ScalarNode)}

    def _users(self, node: yaml.Node) -> Iterator[ConfigUser]:
        for name, value in self._pairs(node, "users"):
            if _is_null(value):
                # Go reads a nil user, and no one can log in with this name.
                yield ConfigUser(_line(value), name, None, usable=False)
                continue
            parts = dict(self._pairs(value, f"the user {name!r}"))
            password = self._text(parts.get("password"), "a password")
            labels = "labels" in parts and not _is_null(parts["labels"])
            yield ConfigUser(_line(value), name, password, labels=labels)

    def _entries(self, node: yaml.Node) -> Iterator[AclEntry]:
        for item in self._items(node, "acl"):
            parts = dict(self._pairs(item, "an entry of acl"))
            match, actions = parts.get("match"), parts.get("actions")
            if match is None or _is_null(match):
                raise self._refused(item, "an entry of acl has no match; {} matches everything")
            if actions is None or _is_null(actions):
                raise self._refused(item, "an entry of acl has no actions; [] denies everything")
            yield AclEntry(
                _line(item),
                self._match(match),
                tuple(self._word(word) for word in self._items(actions, "actions")),
                self._text(parts.get("comment"), "a comment") or "",
            )

    def _match(self, node: yaml.Node) -> Match:
        parts = dict(self._pairs(node, "match"))
        conditions = {key: self._text(parts.get(key), key) for key in _CONDITIONS}
        labels = parts.get("labels")
        return Match(
            **conditions,
            labels=tuple(k for k, _ in self._pairs(labels, "labels"))
            if labels and not _is_null(labels)
            else (),
            ignored=tuple(key for key in parts if key not in (*_CONDITIONS, "labels")),
        )

    def _pairs(self, node: yaml.Node, what: str) -> Iterator[tuple[str, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self._refused(node, f"{what} should be a mapping")
        self._count(node)
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = self._word(key)
            if key.tag == "tag:yaml.org,2002:merge":
                raise self._refused(key, "merge keys (<<) are not read: write out what it brings")
            if name in lines:
                raise self._refused(key, f"{name!r} is there twice, first in line {lines[name]}")
            lines[name] = _line(key)
            yield name, value

    def _items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            raise self._refused(node, f"{what} should be a list")
        self._count(node)
        return list(node.value)

    def _count(self, node: yaml.CollectionNode) -> None:
        self.left -= len(node.value)
        if self.left < 0:
            raise self._refused(node, "aliases (*) repeat too much: write out what they stand for")

    def _word(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._refused(node, "a word is expected here")
        return str(node.value)

    def _text(self, node: yaml.Node | None, what: str) -> str | None:
        if node is None or _is_null(node):
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:binary":
            raise self._refused(node, f"{what} should be one text")
        return str(node.value)

    def _refused(self, node: yaml.Node, why: str) -> Refused:
        return Refused(f"{self.file}:{_line(node)}: {why}")


_NOT_ONE = "this is no docker_auth configuration: it has neither users nor acl"


def _elsewhere(root: yaml.Node) -> str | None:
    """Return where a configuration is within another file, such as a ConfigMap or Helm's values."""
    seen: set[int] = set()
    nodes: list[tuple[str, yaml.Node]] = [("", root)]
    # Aliases may form a circle, and repeat what they stand for.
    for path, node in nodes:
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes += ((f"{path}[{n}]", item) for n, item in enumerate(node.value))
        elif isinstance(node, yaml.MappingNode):
            keys = {str(key.value) for key, _ in node.value}
            if path and {"users", "acl"} <= keys:
                return f"the configuration is below {path}, in line {_line(node)}: {_TAKE_OUT}"
            nodes += ((f"{path}.{k.value}".lstrip("."), value) for k, value in node.value)
        elif path and re.search(r"^acl\s*:", str(node.value), re.MULTILINE):
            return f"the configuration is the text {path}, from line {_line(node)} on: {_TAKE_OUT}"
    return None


_TAKE_OUT = "write that part to a file of its own, and import that"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")

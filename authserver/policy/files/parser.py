"""Reading a policy: all that is wrong with it at once, each problem with its location.

A policy is read in two steps. The model of ``schema`` checks types and keys. Then each entry
becomes a value of ``document``, by the functions with which other commands check arguments.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from authserver.core.conditions import FIELDS, ValueKind
from authserver.core.errors import Refused
from authserver.core.names import account_name, folded, one_line, service_name
from authserver.core.rules import Effect, Rule, new_rule, rule_actions, rule_pattern
from authserver.core.subjects import AccountKind, Subject, SubjectKind, subject
from authserver.core.times import parse_time
from authserver.policy.files import yaml_values
from authserver.policy.files.document import (
    AccountEntry,
    AssertionLine,
    BadPolicy,
    DelegationEntry,
    GroupEntry,
    Location,
    Place,
    Policy,
    PolicyProblem,
    RegistryEntry,
    RuleEntry,
)
from authserver.policy.files.schema import (
    PARTS,
    PolicyAccount,
    PolicyDelegation,
    PolicyGroup,
    PolicyPart,
    PolicyRegistry,
    PolicySections,
    without_form,
)
from authserver.registry.entries import TTL_MAX, TTL_MIN

_T = TypeVar("_T")

MAX_PROBLEMS = 1000
"""After so many reading ends: a file from a stranger must not fill the memory."""
AT_ONCE, MAX_KEYS = 1000, 100

_MORE = f"more than {MAX_PROBLEMS} problems: there may be others from here on"
_MEMBERS = (SubjectKind.USER, SubjectKind.ROBOT)


def read(content: bytes, file: str) -> Policy:
    """Read a policy file; ``file`` is its name for messages.

    What it refers to is not looked up.

    Raises:
        BadPolicy: anything is wrong with it.
    """
    document = yaml_values.read(content, file)
    reader = _Reader(document.lines, document.problems[:MAX_PROBLEMS])
    try:
        return reader.policy(reader.well_formed(document.value), file)
    except _TooManyProblems:
        raise BadPolicy(file, reader.problems) from None


def read_document(document: PolicySections) -> Policy:
    """Read a policy whose types and keys are good.

    Raises:
        BadPolicy: anything else is wrong with it.
    """
    sections = {name: dict(_keyed(getattr(document, name))) for name in document.model_fields_set}
    reader = _Reader()
    try:
        return reader.policy(sections, "the document")
    except _TooManyProblems:
        raise BadPolicy("the document", reader.problems) from None


def _keyed(section: Any) -> Iterator[tuple[str | int, Any]]:  # noqa: ANN401 - any value of YAML
    """Give the entries of a section, by name or by position."""
    yield from section.items() if isinstance(section, dict) else enumerate(section)


class _TooManyProblems(Exception):
    """There are MAX_PROBLEMS already."""


@dataclass
class _Reader:
    lines: Mapping[Place, int] = field(default_factory=dict)
    problems: list[PolicyProblem] = field(default_factory=list)
    formers: dict[tuple[str, str], Location] = field(default_factory=dict)

    # Types and keys.

    def well_formed(self, value: Any) -> dict[str, dict[Any, Any]]:  # noqa: ANN401 - any value
        """Return the sections, each with the entries that the model takes."""
        if not isinstance(value, dict):
            keys = ", ".join(PolicySections.model_fields)
            self.wrong((), f"a policy is a mapping with the keys {keys}")
            return {}
        sections = {name: dict(self.section(name, given)) for name, given in value.items()}
        return {name: sections[name] for name in PolicySections.model_fields if name in sections}

    def section(self, name: str, given: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
        """Give the entries of a section that the model takes, by name or by position."""
        if not isinstance(given, dict | list) or not given:
            self.entries(name, given, ())
            return
        pairs = list(_keyed(given))
        # pydantic reports all that is wrong at once: of a million entries that is gigabytes.
        for begin in range(0, len(pairs), AT_ONCE):
            some = pairs[begin : begin + AT_ONCE]
            small = [pair for pair in some if self.is_small(name, *pair)]
            part = dict(small) if isinstance(given, dict) else [entry for _, entry in small]
            good = self.entries(name, part, [key for key, _ in small])
            if good is None:
                return
            yield from good

    def entries(
        self,
        name: str,
        given: Any,  # noqa: ANN401 - any value of YAML
        keys: Sequence[Any],
    ) -> list[tuple[Any, Any]] | None:
        """Return the entries that the model takes; None if it does not take the section.

        ``keys`` are where they stand in the section.
        """
        bad: set[str | int] = set()
        try:
            read = PolicySections.model_validate({name: given})
        except ValidationError as error:
            for each in error.errors(include_url=False):
                each["loc"] = place = without_form(each["loc"])
                if len(place) == 1:
                    self.wrong(place, _message(each))
                    return None
                bad.add(place[1])
                key = keys[place[1]] if isinstance(place[1], int) else place[1]
                self.wrong((name, key, *place[2:]), _message(each))
            pairs = [pair for pair in _keyed(given) if pair[0] not in bad]
            rest = dict(pairs) if isinstance(given, dict) else [entry for _, entry in pairs]
            read = PolicySections.model_validate({name: rest})
        good = [key for (own, _), key in zip(_keyed(given), keys, strict=True) if own not in bad]
        taken = (entry for _, entry in _keyed(getattr(read, name)))
        return list(zip(good, taken, strict=True))

    def is_small(self, name: str, key: str | int, entry: Any) -> bool:  # noqa: ANN401
        """Whether an entry has few keys; otherwise say so."""
        if isinstance(entry, dict) and len(entry) > MAX_KEYS:
            self.wrong((name, key), f"{len(entry)} keys: more than {MAX_KEYS} are not read")
            return False
        return True

    # Names, patterns, subjects: what the types do not tell.

    def policy(self, sections: Mapping[str, Mapping[Any, Any]], file: str) -> Policy:
        read = {name: getattr(self, name)(given) for name, given in sections.items()}
        if self.problems:
            raise BadPolicy(file, self.problems)
        return Policy(file, **read)

    def registries(self, given: Mapping[str, PolicyRegistry | None]) -> dict[str, RegistryEntry]:
        return {
            name: RegistryEntry(name, location=location, **(part.given if part else {}))
            for name, location, part in self.named("registries", given, service_name, str)
        }

    def accounts(self, given: Mapping[str, PolicyAccount]) -> dict[str, AccountEntry]:
        found = {}
        for name, location, part in self.named("accounts", given, account_name, folded):
            fields = part.given
            kind = AccountKind(fields.pop("kind"))
            foreign = (
                {"owner", "description", "outlives_owner"}
                if kind == "user"
                else {"admin", "auditor", "app_tokens_only"}
            )
            for stray in sorted(foreign & fields.keys()):
                self.wrong(location.place, f"a {kind} has no {stray}")
            description = fields.get("description", "")
            self.good((*location.place, "description"), one_line, description, "description")
            self.former("accounts", location, fields.get("was"))
            found[name] = AccountEntry(name, kind, location=location, **fields)
        return found

    def groups(self, given: Mapping[str, Sequence[str] | PolicyGroup]) -> dict[str, GroupEntry]:
        found = {}
        for name, location, part in self.named("groups", given, account_name, folded):
            members: dict[Subject, Location] = {}
            within, was, texts = location.place, None, part
            if isinstance(part, PolicyGroup):
                was, texts = part.given.get("was"), part.given.get("members", ())
                within = (*within, "members")
            self.former("groups", location, was)
            for number, text in enumerate(texts):
                place = (*within, number)
                member = self.good(place, subject, text)
                if member is None:
                    continue
                if member.kind not in _MEMBERS:
                    self.wrong(place, f"a member is user:NAME or robot:NAME, not {text}")
                elif member in members:
                    self.wrong(place, f"{member} is in {name} already, {members[member]}")
                else:
                    members[member] = self.location(place)
            found[name] = GroupEntry(name, frozenset(members), was, location, members)
        return found

    def former(self, section: str, location: Location, was: str | None) -> None:
        """Check a former name: it is good, and no other entry of the section has it."""
        place = (*location.place, "was")
        if was is None or self.good(place, account_name, was) is None:
            return
        first = self.formers.setdefault((section, was), location)
        if first is not location:
            self.wrong(place, f"was {was} says the entry {first} too: one name becomes one other")

    def rules(self, given: Mapping[int, PolicyPart]) -> list[RuleEntry]:
        found: dict[Rule, RuleEntry] = {}
        for number, part in given.items():
            entry = self.rule(("rules", number), part.given)
            if entry is None:
                continue
            if (same := found.setdefault(entry.meaning, entry)) is not entry:
                self.wrong(entry.location.place, f"the rule {same.location} says the same")
        return list(found.values())

    def rule(self, place: Place, given: dict[str, Any]) -> RuleEntry | None:
        before = len(self.problems)
        kind = given.get("type", "repository")
        comment = given.get("comment", "")
        self.good((*place, "comment"), one_line, comment, "comment")
        about = self.each((*place, "subjects"), subject, given["subjects"])
        self.each((*place, "patterns"), lambda text: rule_pattern(kind, text), given["patterns"])
        conditions = {name: given.pop(name) for name in FIELDS if name in given}
        for name, value in conditions.items():
            own = (*place, name)
            if FIELDS[name].kind is ValueKind.TIME:
                conditions[name] = self.good(own, _time, name, value)
            else:
                self.each(own, FIELDS[name].check, value)
        if len(self.problems) > before:
            return None
        rule = self.good(
            place,
            new_rule,
            Effect(given["effect"]),
            about,
            given["patterns"],
            ",".join(given["actions"]),
            resource_type=kind,
            service=given.get("registry"),
            enabled=given.get("enabled", True),
            **conditions,
        )
        return None if rule is None else RuleEntry(rule, comment, location=self.location(place))

    def delegations(self, given: Mapping[int, PolicyDelegation]) -> list[DelegationEntry]:
        found: dict[tuple[object, ...], DelegationEntry] = {}
        for number, part in given.items():
            place = ("delegations", number)
            comment = part.given.get("comment", "")
            self.good((*place, "comment"), one_line, comment, "comment")
            pattern = self.good(place, rule_pattern, "repository", part.pattern)
            words = ",".join(part.actions)
            actions = self.good(place, rule_actions, Effect.ALLOW, "repository", words)
            if pattern is None or actions is None:
                continue
            entry = DelegationEntry(
                part.group,
                part.registry,
                str(pattern),
                actions,
                comment,
                location=self.location(place),
            )
            if (same := found.setdefault(entry.bounds, entry)) is not entry:
                self.wrong(place, f"the delegation {same.location} is the same")
        return list(found.values())

    def tests(self, given: Mapping[int, str]) -> list[AssertionLine]:
        return [AssertionLine(text, self.location(("tests", n))) for n, text in given.items()]

    def named(
        self,
        section: str,
        given: Mapping[str, _T],
        name_of: Callable[[str], str],
        alike: Callable[[str], str],
    ) -> Iterator[tuple[str, Location, _T]]:
        """Give the entries whose names are good; no two names are ``alike``."""
        found: dict[str, tuple[str, Location]] = {}
        for key, part in given.items():
            location = self.location((section, key))
            name = self.good(location.place, name_of, key)
            if name is None:
                continue
            other, first = found.setdefault(alike(name), (name, location))
            if first is location:
                yield name, location, part
            else:
                hint = "" if other == name else ": names must differ in more than case"
                self.wrong(location.place, f"{name} is there already, as {other} {first}{hint}")

    def each(self, place: Place, make: Callable[[str], _T], texts: Sequence[str]) -> list[_T]:
        """Return what ``make`` makes of the texts of a list."""
        made = [self.good((*place, number), make, text) for number, text in enumerate(texts)]
        return [one for one in made if one is not None]

    def good(
        self, place: Place, make: Callable[..., _T], *args: object, **more: object
    ) -> _T | None:
        """Return what ``make`` makes; what it refuses is a problem."""
        try:
            return make(*args, **more)
        except Refused as error:
            self.wrong(place, str(error))
            return None

    def location(self, place: Place) -> Location:
        """Return a location; a value that is not there is on the line of what should have it."""
        known = place
        while known and known not in self.lines:
            known = known[:-1]
        return Location(place, self.lines.get(known, 1 if self.lines else 0))

    def wrong(self, place: Place, text: str) -> None:
        self.problems.append(PolicyProblem(self.location(place), text))
        if len(self.problems) > MAX_PROBLEMS:
            self.problems[-1] = PolicyProblem(self.location(place), _MORE)
            raise _TooManyProblems


def _time(key: str, text: str) -> object:
    try:
        return parse_time(text)
    except Refused as error:
        raise Refused(f"{key}: {error}") from None


_MESSAGES = {
    "missing": "{key} is missing",
    "literal_error": "{key}: {value!r} is not {expected}",
    "too_short": "{key} is empty",
    "list_type": "{key} is a list; write [] for none",
    "dict_type": "{key} is a mapping from names; write {{}} for none",
    "model_type": "a mapping is needed here, with the keys {keys}",
    "string_type": "{key} is one line of text",
    "bool_type": "{key} is true or false, not {value!r}",
    "int_type": "{key} is a whole number of seconds, not {value!r}",
    "greater_than_equal": f"{{key}} is {TTL_MIN} to {TTL_MAX} seconds, not {{value}}",
    "less_than_equal": f"{{key}} is {TTL_MIN} to {TTL_MAX} seconds, not {{value}}",
    "string_pattern_mismatch": (
        "{key}: {value!r} is no time: write 2026-12-31 or 2026-12-31T18:00Z"
    ),
}
_NO_VALUE = "{key} has no value: leave the key out, or write ''"
_SCALARS = frozenset({"string_type", "string_too_short", "bool_type", "int_type"})


def _message(error: ErrorDetails) -> str:
    """Return what pydantic refused, in the words of a policy file."""
    place, value, kind = error["loc"], error["input"], error["type"]
    if kind == "extra_forbidden":
        return _unknown_key(place)
    if kind in _SCALARS and isinstance(place[-1], int):
        template = "{key}: a text is needed here"
    else:
        template = _NO_VALUE if kind in _SCALARS and value in (None, "") else _MESSAGES[kind]
    return template.format(
        key=next(each for each in reversed(place) if isinstance(each, str)),
        value=value,
        keys=", ".join(_keys(place)) if kind == "model_type" else "",
        **error.get("ctx", {}),
    )


def _unknown_key(place: Sequence[str | int]) -> str:
    keys = _keys(place[:-1])
    close = get_close_matches(str(place[-1]), keys, 1)
    hint = f"is {close[0]} meant?" if close else f"known: {', '.join(keys)}"
    return f"unknown key {place[-1]!r}; {hint}"


def _keys(place: Sequence[str | int]) -> list[str]:
    return list(PARTS[str(place[0])].model_fields if place else PolicySections.model_fields)

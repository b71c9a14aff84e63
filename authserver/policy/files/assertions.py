"""Read assertions: ``alice can push team/app``, ``anonymous cannot pull internal/**``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from authserver.core.addresses import Address, parse_address
from authserver.core.errors import Refused
from authserver.core.names import account_name, repository_name
from authserver.core.patterns import ACCOUNT, Pattern, repository_pattern
from authserver.core.rules import ACTIONS, ALL, CATALOG, LIST, expand, in_order
from authserver.core.subjects import Subject, SubjectKind, subject
from authserver.core.times import parse_time
from authserver.policy.files.document import AssertionLine, BadPolicy, PolicyProblem

_form = re.compile(
    r"(?P<who>\S+) (?P<can>can|cannot) (?P<actions>\S+) (?P<pattern>\S+)"
    r"(?: on (?P<service>.+?))?(?: from (?P<address>\S+))?(?: at (?P<at>\S+))?"
)

HOW = (
    "write WHO can|cannot ACTIONS PATTERN [on REGISTRY] [from ADDRESS] [at TIME], "
    "as in 'alice can push team/app'"
)


@dataclass(frozen=True, slots=True)
class AssertionClaim:
    """An assertion that was read. Of ``account``, a bare name, and ``subject`` one is None.

    ``service`` None means every registry, ``at`` None the time of the test.
    """

    text: str
    line: int
    account: str | None
    subject: Subject | None
    can: bool
    type: str
    pattern: Pattern
    actions: tuple[str, ...]
    service: str | None
    address: Address | None
    at: datetime | None


def read_all(assertions: Iterable[AssertionLine], file: str) -> list[AssertionClaim]:
    """Read assertions.

    Raises:
        BadPolicy: one of them is no assertion.
    """
    claims, problems = [], []
    for each in assertions:
        try:
            claims.append(read(each.text, each.location.line))
        except Refused as error:
            problems.append(PolicyProblem(each.location, f"{each.text!r}: {error}"))
    if problems:
        raise BadPolicy(file, problems)
    return claims


def read(text: str, line: int = 0) -> AssertionClaim:
    """Read one assertion.

    Raises:
        Refused: it is no assertion, or a part of it is no good.
    """
    match = _form.fullmatch(" ".join(text.split()))
    if match is None:
        raise Refused(HOW)
    kind, actions = _actions(match["actions"])
    is_subject = match["who"].partition(":")[0] in {str(kind) for kind in SubjectKind}
    return AssertionClaim(
        text=text,
        line=line,
        account=None if is_subject else account_name(match["who"]),
        subject=subject(match["who"]) if is_subject else None,
        can=match["can"] == "can",
        type=kind,
        pattern=_pattern(kind, match["pattern"]),
        actions=actions,
        service=match["service"],
        address=_address(match["address"]),
        at=parse_time(match["at"]) if match["at"] else None,
    )


def _actions(text: str) -> tuple[str, tuple[str, ...]]:
    if text == LIST:
        return "registry", (ALL,)
    words = [ALL if word == "all" else word for word in text.split(",")]
    for word in words:
        if word not in ACTIONS["repository"]:
            raise Refused(f"unknown action {word!r}: pull, push, delete, all, or list catalog")
    asked = expand("repository", words) if ALL in words else words
    return "repository", in_order("repository", asked)


def _pattern(kind: str, text: str) -> Pattern:
    if kind == "registry":
        if text != CATALOG:
            raise Refused(f"what can be listed is {CATALOG}, not {text}")
        return Pattern(text)
    pattern = repository_pattern(text)
    if "*" not in text and ACCOUNT not in text:
        repository_name(text)
    return pattern


def _address(text: str | None) -> Address | None:
    if text is None:
        return None
    read = parse_address(text)
    if read is None:
        raise Refused(f"{text!r} is no IP address")
    return read

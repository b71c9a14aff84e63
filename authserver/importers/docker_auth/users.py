"""What a docker_auth configuration has besides its ACL.

Users: who can be taken over with a password, who cannot, and why. Other sections: what cannot be
taken over, and what to do by hand.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from authserver.core.errors import Refused
from authserver.core.names import account_name, folded, printable
from authserver.core.subjects import AccountKind
from authserver.importers import htpasswd
from authserver.importers.docker_auth.config import (
    AUTHENTICATION,
    AUTHORIZATION,
    Config,
    ConfigUser,
)
from authserver.importers.docker_auth.coverage import ImportProblem
from authserver.importers.docker_auth.evaluate import NO_CREDENTIALS

_ACCOUNTS = ImportProblem(
    "its accounts are not in the file, and passwords cannot be checked there",
    "authserver user add NAME for each, before the import",
)
_DECISIONS = ImportProblem(
    "what it allows beyond acl is not in the file", "write rules for it: authserver acl allow"
)


@dataclass(frozen=True, slots=True)
class SkippedItem:
    """Something besides the ACL that is not taken. ``name`` is printable."""

    line: int
    name: str
    problem: ImportProblem


@dataclass(frozen=True, slots=True)
class UserImport:
    """The file's users: new ones with their hashes, those that are there already, the others."""

    new: list[htpasswd.HtpasswdEntry] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    left: list[SkippedItem] = field(default_factory=list)

    def known(self, accounts: Mapping[str, AccountKind]) -> dict[str, AccountKind]:
        """Return the accounts that there will be."""
        return {**accounts, **{user.name: AccountKind.USER for user in self.new}}


def users(config: Config, accounts: Mapping[str, AccountKind]) -> UserImport:
    """Sort the file's users; ``accounts`` are those that are there."""
    found = UserImport()
    taken = {folded(name): name for name in accounts}
    for user in config.users:
        if user.name == NO_CREDENTIALS and user.usable and user.password is None:
            continue
        if problem := _problem(user, taken, accounts):
            found.left.append(SkippedItem(user.line, printable(user.name), problem))
        elif user.name in accounts:
            found.existing.append(user.name)
        else:
            taken[folded(user.name)] = user.name
            found.new.append(htpasswd.HtpasswdEntry(user.line, user.name, user.password or ""))
    return found


def _problem(
    user: ConfigUser, taken: Mapping[str, str], accounts: Mapping[str, AccountKind]
) -> ImportProblem | None:
    if name := _name_problem(user.name):
        return ImportProblem(name, "choose another name")
    same = taken.get(folded(user.name), user.name)
    if same != user.name:
        return ImportProblem(f"{same} is there: names must differ in more than case", "rename it")
    if kind := accounts.get(user.name):
        # Its password here stays, whatever the file has.
        return (
            None
            if kind is AccountKind.USER
            else ImportProblem("a robot has this name", "rename one")
        )
    return _password_problem(user)


def _name_problem(name: str) -> str | None:
    try:
        same = account_name(name) == name
    except Refused as error:
        return str(error)
    return None if same else "the name is not in Unicode's normal form C"


def _password_problem(user: ConfigUser) -> ImportProblem | None:
    remedy = f"authserver user add {shlex.quote(user.name)}"
    if not user.usable:
        return ImportProblem("it has no settings, and nobody can log in with it", remedy)
    if user.password is None:
        return ImportProblem("it has no password: anybody may log in with that name", remedy)
    problem = htpasswd.hash_problem(user.password)
    return ImportProblem(problem, remedy) if problem else None


def sections_left(config: Config) -> Iterator[SkippedItem]:
    """Yield the sections by which docker_auth lets in or allows more than the file says."""
    for name, line in config.sections.items():
        if name in AUTHENTICATION:
            yield SkippedItem(line, name, _ACCOUNTS)
        elif name in AUTHORIZATION:
            yield SkippedItem(line, name, _DECISIONS)


def section_notes(config: Config, issuer: str) -> Iterator[str]:
    """Yield what is to be done or known besides; ``issuer`` is ours."""
    yield from _notes_on_tokens(config, issuer)
    if any(user.labels for user in config.users):
        yield "labels of users are not taken: groups are what rules go by"
    if "real_ip_header" in config.server and any(entry.match.ip for entry in config.entries):
        yield (
            "server.real_ip_header: rules with networks need AUTHSERVER_TRUSTED_PROXIES, or all "
            "requests come from the proxy"
        )
    for name, line in config.unknown.items():
        yield f"line {line}: docker_auth knows no {printable(name)!r} and ignores it"


def _notes_on_tokens(config: Config, issuer: str) -> Iterator[str]:
    theirs = config.token.get("issuer", issuer)
    if theirs != issuer:
        yield (
            f"token.issuer is {theirs!r}, ours is {issuer!r}: give registries the new auth section "
            "(authserver registry config), or set AUTHSERVER_ISSUER before `authserver init`"
        )
    if {"certificate", "key"} & {*config.token, *config.server}:
        yield (
            "tokens are signed with our own keys: give registries the new rootcertbundle "
            "(authserver registry config SERVICE --output-dir DIR)"
        )
    if "expiration" in config.token:
        yield (
            f"token.expiration is {config.token['expiration']} seconds: "
            "AUTHSERVER_TOKEN_TTL, or authserver registry edit SERVICE --token-ttl"
        )

"""Import the parts of a docker_auth configuration besides its ACL.

Users are imported with their passwords, or skipped with a reason. Other sections cannot be
imported: each gets a remedy.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from authserver.core.commands import program, shell_command
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
    """A user or a section that is not imported. ``name`` is printable."""

    line: int
    name: str
    problem: ImportProblem


@dataclass(frozen=True, slots=True)
class UserImport:
    """The file's users: the new ones with their hashes, the existing ones, the skipped ones."""

    new: list[htpasswd.HtpasswdEntry] = field(default_factory=list)
    existing: list[str] = field(default_factory=list)
    skipped: list[SkippedItem] = field(default_factory=list)

    def added_to(self, accounts: Mapping[str, AccountKind]) -> dict[str, AccountKind]:
        """Return the accounts after the import."""
        return {**accounts, **{user.name: AccountKind.USER for user in self.new}}


def users(config: Config, accounts: Mapping[str, AccountKind]) -> UserImport:
    """Sort the file's users into new, existing and skipped; ``accounts`` are the existing ones."""
    sorted_users = UserImport()
    taken = {folded(name): name for name in accounts}
    for user in config.users:
        if user.name == NO_CREDENTIALS and user.usable and user.password is None:
            continue
        if problem := _problem(user, taken, accounts):
            sorted_users.skipped.append(SkippedItem(user.line, printable(user.name), problem))
        elif user.name in accounts:
            sorted_users.existing.append(user.name)
        else:
            taken[folded(user.name)] = user.name
            stored = htpasswd.imported_hash(user.password or "")
            sorted_users.new.append(htpasswd.HtpasswdEntry(user.line, user.name, stored))
    return sorted_users


def _problem(
    user: ConfigUser, taken: Mapping[str, str], accounts: Mapping[str, AccountKind]
) -> ImportProblem | None:
    if name := _name_problem(user.name):
        return ImportProblem(name, "choose another name")
    same = taken.get(folded(user.name), user.name)
    if same != user.name:
        return ImportProblem(f"{same} is there: names must differ in more than case", "rename it")
    if kind := accounts.get(user.name):
        # An existing user keeps the present password.
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
    remedy = shell_command("user", "add", operand=user.name)
    if not user.usable:
        return ImportProblem("it has no settings, and no one can log in with it", remedy)
    if user.password is None:
        return ImportProblem("it has no password: anyone may log in with that name", remedy)
    try:
        htpasswd.imported_hash(user.password)
    except Refused as error:
        return ImportProblem(str(error), remedy)
    return None


def skipped_sections(config: Config) -> Iterator[SkippedItem]:
    """Yield the sections by which docker_auth takes accounts or decisions from elsewhere."""
    for name, line in config.sections.items():
        if name in AUTHENTICATION:
            yield SkippedItem(line, name, _ACCOUNTS)
        elif name in AUTHORIZATION:
            yield SkippedItem(line, name, _DECISIONS)


def section_notes(config: Config, issuer: str) -> Iterator[str]:
    """Yield notes on further steps; ``issuer`` is ours."""
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
            f"({program()} registry config), or set AUTHSERVER_ISSUER before `{program()} init`"
        )
    if {"certificate", "key"} & {*config.token, *config.server}:
        yield (
            "tokens are signed with our own keys: give registries the new rootcertbundle "
            f"({program()} registry config SERVICE --output-dir DIR)"
        )
    if "expiration" in config.token:
        yield (
            f"token.expiration is {config.token['expiration']} seconds: "
            f"AUTHSERVER_TOKEN_TTL, or {program()} registry edit SERVICE --token-ttl"
        )

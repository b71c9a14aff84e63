"""Describe what an ACL entry covers in the terms of our rules, and what rules cannot express."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from authserver.core.addresses import Network
from authserver.core.commands import shell_command
from authserver.core.errors import Refused
from authserver.core.names import account_name
from authserver.core.patterns import ANY_SEGMENTS, Pattern
from authserver.core.rules import ACTIONS, ALL, CATALOG
from authserver.core.subjects import AccountKind
from authserver.importers.docker_auth import evaluate, matchers, name_patterns
from authserver.importers.docker_auth.config import AclEntry, Config
from authserver.importers.docker_auth.evaluate import NO_CREDENTIALS, entry_actions, entry_network
from authserver.importers.docker_auth.region import OTHERS, Region

_KNOWN = frozenset(ACTIONS["repository"])


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """Why something cannot be imported, and the remedy."""

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ImportContext:
    """Our side of an import: the accounts, the registries, and the possible requesters.

    ``named`` has the accounts that exist or that the ACL names. ``anonymous`` tells whether
    docker_auth serves requests without credentials, ``closed`` whether the file has all accounts
    that docker_auth knows.
    """

    accounts: Mapping[str, AccountKind]
    services: frozenset[str]
    anonymous: bool
    named: frozenset[str]
    closed: bool = False

    @property
    def requesters(self) -> frozenset[str]:
        return self.logged_in | ({NO_CREDENTIALS} if self.anonymous else frozenset())

    @property
    def logged_in(self) -> frozenset[str]:
        return self.named | {OTHERS}

    @property
    def decided(self) -> frozenset[str]:
        """The accounts for which docker_auth's decisions bind us.

        In a ``closed`` world docker_auth lets in nobody else: about an account that is made later,
        it has decided nothing.
        """
        return frozenset(self.accounts) if self.closed else self.logged_in


@dataclass(frozen=True, slots=True)
class EntryClaim:
    """An entry's effect on one resource type.

    If the claim has ``obstacles`` or is not ``exact``, ``region`` is at least what the entry
    matches. ``faults`` are problems with the actions that the entry gives, ``remarks`` those that
    change no decision. ``idle`` says why it matches no request of a registry, None if it may match
    one. The region lacks the ``impossible`` names, which no account here can have: docker_auth may
    know them, from LDAP for example.
    """

    entry: AclEntry
    region: Region
    actions: frozenset[str]
    exact: bool = True
    obstacles: tuple[ImportProblem, ...] = ()
    faults: tuple[ImportProblem, ...] = ()
    remarks: tuple[ImportProblem, ...] = ()
    idle: ImportProblem | None = None
    impossible: frozenset[str] = frozenset()


def import_context(
    config: Config, accounts: Mapping[str, AccountKind], services: frozenset[str]
) -> ImportContext:
    """Return our side of the import; ``accounts`` has the file's new users as well."""
    named = {name for entry in config.entries for name in _words(entry.match.account) or ()}
    named |= accounts.keys()
    possible = frozenset(filter(possible_account, named - {NO_CREDENTIALS}))
    return ImportContext(accounts, services, config.anonymous, possible, config.closed)


def claims(entry: AclEntry, context: ImportContext) -> Iterator[EntryClaim]:
    """Yield the entry's claims: on repositories, on the catalog, or one that says why neither."""
    shared = _Reading(exact=True, problems=[])
    accounts = shared.accounts(entry.match.account, context)
    shared.rest(entry)
    base = EntryClaim(
        entry,
        Region(
            "repository",
            accounts,
            (),
            shared.service(entry.match.service, context),
            shared.network(entry.match.ip),
        ),
        frozenset(),
        remarks=tuple(_remarks(entry)),
        impossible=_impossible(entry.match.account),
    )
    matched = [
        kind for kind in ACTIONS if evaluate.matches_text(entry.match.type, kind) is not False
    ]
    if not matched:
        yield replace(base, idle=_no_type(entry.match.type))
    for kind in matched:
        own = _Reading(shared.exact, list(shared.problems))
        own.type(entry.match.type, kind)
        patterns = own.names(_for_one(entry.match.name, accounts), kind)
        if kind == "registry" and not patterns and len(matched) > 1:
            continue
        region = replace(base.region, type=kind, patterns=patterns)
        if region.has_account_names:
            # Without credentials ${account} is empty and matches nothing, in both programs.
            region = replace(region, accounts=accounts - {NO_CREDENTIALS})
        yield replace(
            base,
            region=region,
            actions=entry_actions(entry) & frozenset(ACTIONS[kind]),
            exact=own.exact,
            obstacles=tuple(own.problems),
            faults=tuple(_faults(entry, kind)),
            idle=None if patterns else _NO_NAME[kind],
        )


_NO_NAME = {
    "repository": ImportProblem("no registry accepts a name that it matches", "remove it"),
    "registry": ImportProblem(
        f"of the type registry only the name {CATALOG!r} is asked for", f"write name: {CATALOG}"
    ),
}


def _no_type(pattern: str | None) -> ImportProblem:
    return ImportProblem(
        f"no registry asks for the type {pattern!r}", "write repository or registry"
    )


def _impossible(account: str | None) -> frozenset[str]:
    """Return the names in a condition that no account can have."""
    names = (_words(account) or frozenset()) - {NO_CREDENTIALS}
    return frozenset(name for name in names if not possible_account(name))


def _remarks(entry: AclEntry) -> Iterator[ImportProblem]:
    if unknown := sorted(set(entry.actions) - _KNOWN):
        yield ImportProblem(
            f"no registry asks for the action {', '.join(map(repr, unknown))}",
            "write pull, push, delete, or '*' alone",
        )


def _faults(entry: AclEntry, kind: str) -> Iterator[ImportProblem]:
    if kind == "repository" and ALL in entry.actions and len(entry.actions) > 1:
        yield ImportProblem(
            "'*' beside other actions does not stand for all of them in docker_auth",
            "write ['*'], or only the names of the actions",
        )
    elif "push" in entry.actions and "pull" not in entry.actions:
        yield ImportProblem(
            "push without pull: a registry takes an upload only with both",
            "write [pull, push]",
        )


def _words(account: str | None) -> frozenset[str] | None:
    """Return the accounts that a condition lists by name, None if it is not such a list."""
    if account is None or "${" in account:
        return None
    if not matchers.is_regexp(account):
        return frozenset({account}) if matchers.is_literal(account) else None
    plain = matchers.plain(account[1:-1])
    return plain.words if plain else None


def possible_account(name: str) -> bool:
    """Whether an account of ours could have exactly this name."""
    try:
        return account_name(name) == name
    except Refused:
        return False


def _for_one(name: str | None, accounts: frozenset[str]) -> str | None:
    """Put the account's name in place of ``${account}`` if only one account can match."""
    if name is None or len(accounts) != 1 or OTHERS in accounts:
        return name
    return name.replace(name_patterns.OWN, evaluate.quoted(next(iter(accounts))))


@dataclass
class _Reading:
    """Translates conditions one by one, and collects those that rules cannot express."""

    exact: bool
    problems: list[ImportProblem]

    def _fail(self, reason: str, remedy: str, *, exact: bool = False) -> None:
        self.exact = self.exact and exact
        self.problems.append(ImportProblem(reason, remedy))

    def rest(self, entry: AclEntry) -> None:
        if entry.match.labels:
            self._fail("it matches labels", "put the accounts in a group and allow the group")
        if entry.match.ignored:
            keys = ", ".join(entry.match.ignored)
            self._fail(
                f"docker_auth knows no condition {keys}, ignores it and matches without it",
                "remove it, or say what was meant with a condition that there is",
                exact=True,
            )

    def accounts(self, account: str | None, context: ImportContext) -> frozenset[str]:
        if account is None or account in ("*", "/.*/", "/^.*$/"):
            return context.requesters
        if account in ("/.+/", "/^.+$/", "/./", "?*", "*?"):
            return context.logged_in
        words = _words(account)
        if words is None:
            self._fail(
                f"the account {account!r} stands for accounts that no rule can name",
                "put them in a group and allow the group",
            )
            return _perhaps(account, context)
        if NO_CREDENTIALS in words and len(words) == 1:
            return words & context.requesters
        for name in sorted(words - {NO_CREDENTIALS}):
            if not possible_account(name):
                self._fail(f"no account can be called {name!r}", "choose another name", exact=True)
            elif name not in context.accounts:
                self._fail(
                    f"there is no account {name!r}",
                    f"{shell_command('user', 'add', operand=name)}, or remove the entry",
                    exact=True,
                )
        return words & context.requesters

    def type(self, pattern: str | None, kind: str) -> None:
        if evaluate.matches_text(pattern, kind) is None:
            self._fail(f"the type {pattern!r} is not a word", "write repository or registry")

    def service(self, pattern: str | None, context: ImportContext) -> str | None:
        if pattern is None or pattern in ("/.*/", "/.+/"):
            return None
        if matchers.is_regexp(pattern) or not matchers.is_literal(pattern) or "${" in pattern:
            self._fail(
                f"the service {pattern!r} is not one name",
                "write an entry for each service, or none for all",
            )
            return None
        if pattern not in context.services:
            self._fail(
                f"there is no registry {pattern!r}",
                f"{shell_command('registry', 'add', operand=pattern)}, or correct the name",
                exact=True,
            )
        return pattern

    def network(self, text: str | None) -> Network | None:
        if text is None:
            return None
        try:
            addresses = entry_network(text)
        except Refused as error:
            self._fail(str(error), "write an IPv4 or IPv6 network")
            return None
        if not addresses.prefixlen:
            self._fail(f"{text} is every address", "leave ip out", exact=True)
        return addresses

    def names(self, condition: str | None, kind: str) -> tuple[Pattern, ...]:
        """Return the patterns for the names; empty if no name can match."""
        if kind == "registry":
            matched = name_patterns.matches_catalog(condition)
            patterns = None if matched is None else (Pattern(CATALOG),) * matched
        else:
            patterns = name_patterns.patterns(condition)
        if patterns is None:
            self._fail(
                f"no pattern here means the name {condition!r}", name_patterns.remedy(condition)
            )
            return (Pattern(CATALOG if kind == "registry" else ANY_SEGMENTS),)
        return patterns


def _perhaps(account: str, context: ImportContext) -> frozenset[str]:
    """Return the accounts that the condition may match."""
    candidates = context.requesters - {OTHERS}
    return frozenset(
        name for name in candidates if evaluate.matches_text(account, name) is not False
    ) | {OTHERS}

"""What else a docker_auth configuration has: what cannot be taken, and what to do by hand."""

from collections.abc import Iterator

from authserver.core.names import printable
from authserver.importers.docker_auth.config import AUTHENTICATION, AUTHORIZATION, Config
from authserver.importers.docker_auth.coverage import Problem
from authserver.importers.docker_auth.users import Left

_ACCOUNTS = Problem(
    "its accounts are not in the file, and passwords cannot be checked there",
    "authserver user add NAME for each, before the import",
)
_DECISIONS = Problem(
    "what it allows beyond acl is not in the file", "write rules for it: authserver acl allow"
)


def left(config: Config) -> Iterator[Left]:
    """Yield the sections by which docker_auth lets in or allows more than the file says."""
    for name, line in config.sections.items():
        if name in AUTHENTICATION:
            yield Left(line, name, _ACCOUNTS)
        elif name in AUTHORIZATION:
            yield Left(line, name, _DECISIONS)


def notes(config: Config, issuer: str) -> Iterator[str]:
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

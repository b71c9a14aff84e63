"""Test tokens: what the doctor shows a registry to see what it accepts.

A test token grants nothing (``access: []``) and lives for 60 seconds. Where a registry refuses the
usual one, other header modes are tried.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt

from authserver.core.claims import Claims
from authserver.core.errors import Refused
from authserver.core.names import service_name
from authserver.keys.jose import HeaderMode, algorithm, jose_header
from authserver.keys.keyring import KeyPair
from authserver.registry.doctor import challenge
from authserver.registry.doctor.challenge import ObservedChallenge, parse
from authserver.registry.doctor.expected import Expected, OwnAuthority
from authserver.registry.doctor.http import HttpAnswer, Remote

LIFETIME = timedelta(seconds=60)

# Issuers that stand in the documentation of registries and of docker_auth, and get copied.
COPIED_ISSUERS = ("registry-token-issuer", "Acme auth server", "Auth Service", "authserver")


@dataclass(frozen=True)
class Probe:
    """How one test token is made. ``kid`` stands in the place of the mode's own key id."""

    mode: HeaderMode
    key: KeyPair = field(repr=False)
    issuer: str
    audience: str
    at: datetime
    authority: OwnAuthority | None = None
    kid: str | None = None
    audience_is_list: bool = False

    def signed(self) -> str:
        """Return the test token."""
        public = self.key.private.public_key()
        header = jose_header(self.mode, public, [self.key.certificate])
        if self.kid is not None:
            header["kid"] = self.kid
        return jwt.encode(self._claims(), self.key.private, algorithm(public), header)

    def _claims(self) -> dict[str, Any]:
        made = Claims(
            issuer=self.issuer,
            subject="",
            audience=self.audience,
            issued_at=self.at.replace(microsecond=0),
            lifetime=LIFETIME,
            jwt_id=f"doctor-{secrets.token_urlsafe(12)}",
            access=(),
        ).as_json()
        return made | ({"aud": [self.audience]} if self.audience_is_list else {})

    def shown(self, remote: Remote) -> HttpAnswer:
        """Show the token to a registry."""
        return remote.ask("/v2/", token=self.signed())

    def accepted(self, remote: Remote) -> bool:
        return self.shown(remote).status == 200


def usual(expected: Expected) -> Probe:
    """Return the probe that is made as tokens for this registry entry are."""
    authority = None if expected.has_own_key else expected.authority
    return Probe(
        expected.mode, expected.key, expected.issuer, expected.service, expected.clock(), authority
    )


def under(authority: OwnAuthority, like: Probe) -> Probe:
    """Return a probe that carries a certificate under ``authority``."""
    leaf = authority.leaf(like.at)
    return replace(like, mode=HeaderMode.X5C, key=leaf, authority=authority)


def by_key_id(mode: HeaderMode, authority: OwnAuthority, like: Probe) -> Probe:
    """Return a probe that names an authority's own key, which the bundle holds, by its id."""
    return replace(like, mode=mode, key=authority.pair, authority=None)


def reached(answer: HttpAnswer) -> bool:
    """Whether a registry that refused a token has seen it: else it names no error."""
    challenge = parse(answer.headers)
    return challenge is None or bool(challenge.error)


def adapted(usual: Probe, observed: ObservedChallenge) -> Probe:
    """Return the probe with what the registry says of itself: its service and its clock."""
    made = usual
    if observed.ahead is not None and abs(observed.ahead) > challenge.ALLOWED:
        made = replace(made, at=usual.at + observed.ahead)
    try:
        return replace(made, audience=service_name(observed.challenge.service))
    except Refused:
        return made


def accepted(remote: Remote, expected: Expected, like: Probe) -> Probe | None:
    """Return the first probe that is accepted, of those with another key or issuer."""
    candidates = list(_candidates(expected, like))
    for issuer in _issuers(expected, like):
        for candidate in candidates:
            tried = replace(candidate, issuer=issuer)
            if tried.accepted(remote):
                return tried
    return None


def _candidates(expected: Expected, like: Probe) -> Iterator[Probe]:
    yield like
    for authority in expected.authorities:
        yield under(authority, like)
    for mode in (HeaderMode.LIBTRUST, HeaderMode.RFC7638):
        yield from by_key_ids(expected, mode, like)


def by_key_ids(expected: Expected, mode: HeaderMode, like: Probe) -> Iterator[Probe]:
    """Give the probes that name a key by its id: the entry's own key, and the authority's."""
    if expected.has_own_key:
        yield replace(like, mode=mode, key=expected.key, authority=None)
    yield by_key_id(mode, expected.authority, like)


def _issuers(expected: Expected, like: Probe) -> list[str]:
    parts = urlsplit(expected.realm)
    guesses = (
        expected.issuer,
        *COPIED_ISSUERS,
        expected.realm,
        expected.realm.removesuffix("/token"),
        parts.netloc,
        parts.hostname or "",
        expected.service,
        like.audience,
    )
    return [guess for guess in dict.fromkeys(guesses) if guess]

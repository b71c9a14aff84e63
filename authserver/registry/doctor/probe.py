"""Test tokens: the doctor shows them to a registry to learn which ones it accepts.

A test token grants nothing (``access: []``) and lives for 60 seconds. Where a registry refuses the
usual one, the doctor tries other keys, header modes and issuers.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import jwt

from authserver.core.claims import Claims
from authserver.core.errors import Refused
from authserver.core.names import service_name
from authserver.core.signatures import KEY_ID_MODES, HeaderMode
from authserver.keys.header_modes import jose_header
from authserver.keys.jose import KeyPair, algorithm
from authserver.registry.doctor import challenge
from authserver.registry.doctor.challenge import ObservedChallenge, parse
from authserver.registry.doctor.expected import Expected, OwnAuthority
from authserver.registry.doctor.http import HttpAnswer, Remote

LIFETIME = 60
"""Seconds for which a test token is good."""

# Issuers in the documentation of registries and of docker_auth: operators copy them.
COPIED_ISSUERS = ("registry-token-issuer", "Acme auth server", "Auth Service", "authserver")


@dataclass(frozen=True)
class Probe:
    """How to make one test token. ``kid`` replaces the header mode's own key id."""

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
        claims = Claims.of(self.issuer, "", self.audience, LIFETIME, access=())
        jwt_id = f"doctor-{secrets.token_urlsafe(12)}"
        read: dict[str, Any] = json.loads(claims.encode(int(self.at.timestamp()), jwt_id))
        return read | ({"aud": [self.audience]} if self.audience_is_list else {})

    def answer(self, remote: Remote) -> HttpAnswer:
        """Return a registry's answer to the token."""
        return remote.ask("/v2/", token=self.signed())

    def accepted(self, remote: Remote) -> bool:
        return self.answer(remote).status == 200


def usual(expected: Expected) -> Probe:
    """Return the probe that is made like the tokens for this registry entry."""
    authority = None if expected.has_own_key else expected.authority
    return Probe(
        expected.mode, expected.key, expected.issuer, expected.service, expected.clock(), authority
    )


def under(authority: OwnAuthority, like: Probe) -> Probe:
    """Return a probe that carries a certificate under ``authority``."""
    leaf = authority.leaf(like.at)
    return replace(like, mode=HeaderMode.X5C, key=leaf, authority=authority)


def by_key_id(mode: HeaderMode, authority: OwnAuthority, like: Probe) -> Probe:
    """Return a probe signed by an authority's own key, which the bundle holds, named by its id."""
    return replace(like, mode=mode, key=authority.pair, authority=None)


def reached(answer: HttpAnswer) -> bool:
    """Whether a registry that refused a token saw it: otherwise its challenge has no error."""
    challenge = parse(answer.headers)
    return challenge is None or bool(challenge.error)


def adapted(usual: Probe, observed: ObservedChallenge) -> Probe:
    """Return the probe with the service and the clock that the registry itself shows."""
    probe = usual
    if observed.ahead is not None and abs(observed.ahead) > challenge.ALLOWED:
        probe = replace(probe, at=usual.at + observed.ahead)
    try:
        return replace(probe, audience=service_name(observed.challenge.service))
    except Refused:
        return probe


def accepted(remote: Remote, expected: Expected, like: Probe) -> Probe | None:
    """Return the first accepted probe among those with another key, header mode or issuer."""
    candidates = list(_candidates(expected, like))
    for issuer in _issuers(expected, like):
        for candidate in candidates:
            probe = replace(candidate, issuer=issuer)
            if probe.accepted(remote):
                return probe
    return None


def _candidates(expected: Expected, like: Probe) -> Iterator[Probe]:
    yield like
    for authority in expected.authorities:
        yield under(authority, like)
    for mode in KEY_ID_MODES:
        yield from by_key_ids(expected, mode, like)


def by_key_ids(expected: Expected, mode: HeaderMode, like: Probe) -> Iterator[Probe]:
    """Yield the probes that name a key by its id: the entry's own key, and the authority's."""
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

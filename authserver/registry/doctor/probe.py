"""Test tokens: what the doctor shows a registry to see what it accepts.

A test token grants nothing (``access: []``) and lives for 60 seconds.
"""

import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import jwt

from authserver.core.claims import Claims
from authserver.keys.jose import HeaderMode, algorithm, jose_header
from authserver.keys.keyring import KeyPair
from authserver.registry.doctor.challenge import parse
from authserver.registry.doctor.expected import Ours, OwnAuthority
from authserver.registry.doctor.http import Answer
from authserver.registry.doctor.remote import Remote

LIFETIME = timedelta(seconds=60)


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

    def shown(self, remote: Remote) -> Answer:
        """Show the token to a registry."""
        return remote.ask("/v2/", token=self.signed())

    def accepted(self, remote: Remote) -> bool:
        return self.shown(remote).status == 200


def usual(ours: Ours) -> Probe:
    """Return the probe that is made as tokens for this registry entry are."""
    authority = None if ours.has_own_key else ours.authority
    return Probe(ours.mode, ours.key, ours.issuer, ours.service, ours.clock(), authority)


def under(authority: OwnAuthority, like: Probe) -> Probe:
    """Return a probe that carries a certificate under ``authority``."""
    leaf = authority.leaf(like.at)
    return replace(like, mode=HeaderMode.X5C, key=leaf, authority=authority)


def by_key_id(mode: HeaderMode, authority: OwnAuthority, like: Probe) -> Probe:
    """Return a probe that names an authority's own key, which the bundle holds, by its id."""
    return replace(like, mode=mode, key=authority.pair, authority=None)


def reached(answer: Answer) -> bool:
    """Whether a registry that refused a token has seen it: else it names no error."""
    challenge = parse(answer.headers)
    return challenge is None or bool(challenge.error)

"""The registry token's claims (Distribution ``jwt.md``)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from authserver.core.decision import Decision

# Registries allow 60 s of clock difference; some clients' and registries' clocks are behind.
BACKDATED = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Claims:
    """What one registry token says. Times are whole seconds, UTC."""

    issuer: str
    subject: str
    audience: str
    issued_at: datetime
    lifetime: timedelta
    jwt_id: str
    access: tuple[dict[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """Return the claims set: integer times and one string as audience, as 2.8 needs them."""
        issued = int(self.issued_at.timestamp())
        return {
            "iss": self.issuer,
            "sub": self.subject,
            "aud": self.audience,
            "exp": issued + int(self.lifetime.total_seconds()),
            "nbf": issued - int(BACKDATED.total_seconds()),
            "iat": issued,
            "jti": self.jwt_id,
            "access": list(self.access),
        }

    def encode(self) -> bytes:
        """Return the claims set as JSON."""
        seconds = int(self.lifetime.total_seconds())
        alike = Template.of(self.issuer, self.subject, self.audience, seconds, self.access)
        return alike.encode(int(self.issued_at.timestamp()), self.jwt_id)


@dataclass(frozen=True, slots=True)
class Template:
    """The claims of tokens that differ in nothing but their times and ids.

    ``start`` is their JSON up to those, ``lifetime`` in seconds.
    """

    start: str
    lifetime: int

    @classmethod
    def of(
        cls,
        issuer: str,
        subject: str,
        audience: str,
        lifetime: int,
        access: tuple[dict[str, Any], ...],
    ) -> "Template":
        alike = {"iss": issuer, "sub": subject, "aud": audience, "access": access}
        return cls(json.dumps(alike, separators=(",", ":")).removesuffix("}"), lifetime)

    def encode(self, issued_at: int, jwt_id: str) -> bytes:
        """Return one token's claims set as JSON.

        ``issued_at`` is in seconds since 1970, ``jwt_id`` has nothing that JSON would escape.
        """
        return (
            f'{self.start},"exp":{issued_at + self.lifetime},"nbf":{issued_at - _BACKDATED},'
            f'"iat":{issued_at},"jti":"{jwt_id}"}}'
        ).encode()


_BACKDATED = int(BACKDATED.total_seconds())


def access(decisions: Iterable[Decision]) -> tuple[dict[str, Any], ...]:
    """Return the grant: an entry for each decision that grants anything, never with a class."""
    return tuple(
        {"type": d.scope.type, "name": d.scope.name, "actions": list(d.granted)}
        for d in decisions
        if d.granted
    )

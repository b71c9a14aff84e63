"""The registry token's claims (Distribution ``jwt.md``)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from authserver.core.policy import Decision

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


def access(decisions: Iterable[Decision]) -> tuple[dict[str, Any], ...]:
    """Return the grant: an entry for each decision that grants anything, never with a class."""
    return tuple(
        {"type": d.scope.type, "name": d.scope.name, "actions": list(d.granted)}
        for d in decisions
        if d.granted
    )

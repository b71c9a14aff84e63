"""The registry token's claims (Distribution ``jwt.md``)."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from authserver.core.decision import Decision

# Registries allow 60 s of clock difference; some clients' and registries' clocks are behind.
BACKDATED = timedelta(seconds=30)

_BACKDATED = int(BACKDATED.total_seconds())

Access = tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of registry tokens that differ only in their times and ids.

    ``start`` is their JSON up to those, ``lifetime`` in seconds.
    """

    start: str
    lifetime: int

    @classmethod
    def of(cls, issuer: str, subject: str, audience: str, lifetime: int, access: Access) -> Self:
        """Return the claims; the audience is one string, as Distribution 2.8 needs it."""
        alike = {"iss": issuer, "sub": subject, "aud": audience, "access": access}
        return cls(json.dumps(alike, separators=(",", ":")).removesuffix("}"), lifetime)

    def encode(self, issued_at: int, jwt_id: str) -> bytes:
        """Return one token's claims set as JSON, with integer times, as 2.8 needs them.

        ``issued_at`` is in seconds since 1970, ``jwt_id`` has nothing that JSON would escape.
        """
        return (
            f'{self.start},"exp":{issued_at + self.lifetime},"nbf":{issued_at - _BACKDATED},'
            f'"iat":{issued_at},"jti":"{jwt_id}"}}'
        ).encode()


def access(decisions: Iterable[Decision]) -> Access:
    """Return the ``access`` claim: an entry without class for each decision that grants."""
    return tuple(
        {"type": d.scope.type, "name": d.scope.name, "actions": list(d.granted)}
        for d in decisions
        if d.granted
    )

"""What a registry says of itself to a request without a token."""

from dataclasses import dataclass
from datetime import timedelta

from authserver.registry.doctor.challenge import Challenge


@dataclass(frozen=True)
class Seen:
    """Its challenge, and how far its clock is ahead of ours if it says so."""

    challenge: Challenge
    ahead: timedelta | None

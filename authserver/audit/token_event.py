"""One token request and its outcome, on the way to the records."""

from dataclasses import dataclass
from datetime import UTC, datetime

from authserver.core.names import printable

MAX_TEXT = 1000
UNKNOWN_TIME = datetime.fromtimestamp(0, UTC)

LONGEST = {
    "account": 150,
    "credential": 200,
    "address": 60,
    "client": 200,
    "service": 200,
    "requested": MAX_TEXT,
    "granted": MAX_TEXT,
    "reason": MAX_TEXT,
}
"""How many characters of each text a record keeps."""

# The reason has room for the longest name of a repository and for what is wrong with it.
LONGEST_IN_VAIN = {"client": 100, "requested": 300, "reason": 350}


@dataclass(slots=True)
class TokenEvent:
    """One token request and its outcome: ``granted``, ``partial``, ``denied`` or ``refused``.

    It is made when the request is answered; then it is the journal's. ``requests`` is how many
    requests it stands for, None for one.
    """

    request_id: str
    address: str
    client: str
    service: str = ""
    requested: str = ""
    outcome: str = "refused"
    account: str = ""
    credential: str = ""
    granted: str = ""
    jwt_id: str | None = None
    reason: str = ""
    rules: str = ""
    at: datetime = UNKNOWN_TIME
    requests: int | None = None

    @property
    def log_fields(self) -> dict[str, str]:
        """Return what a line in the log says of it."""
        return {
            "account": self.account or "anonymous",
            "address": self.address,
            "service": printable(self.service),
            "reason": printable(self.reason, MAX_TEXT),
        }

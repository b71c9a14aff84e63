"""The registry's answer to a client without a token: its challenge (RFC 6750, 3) and its clock."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime

from authserver.core.commands import program
from authserver.core.names import printable
from authserver.registry.doctor.findings import DoctorFinding, compared, failed, not_tried, passed
from authserver.registry.doctor.http import HttpAnswer

CHECK = "registry.challenge"
SECTION = "put the section that `authserver registry config` prints into its config.yml"
_MAX_HEADER = 8192

_scheme = re.compile(r"\s*([A-Za-z]+)(?:\s|$)")
_parameter = re.compile(r'(?:^|[\s,])([A-Za-z_]+)="((?:[^"\\]|\\.)*)"')

CLOCK = "clock"
# A registry allows 60 seconds. Half of that is left for the drift of the next weeks.
ALLOWED = timedelta(seconds=30)


@dataclass(frozen=True)
class Challenge:
    """A ``Bearer`` challenge; a missing parameter is empty."""

    realm: str
    service: str
    error: str


def parse(headers: Message) -> Challenge | None:
    """Return the ``Bearer`` challenge of an answer, None if it has none."""
    for text in headers.get_all("WWW-Authenticate") or ():
        header = str(text)[:_MAX_HEADER]
        if _named_scheme(header) == "bearer":
            parameters = {
                name.lower(): re.sub(r"\\(.)", r"\1", value)
                for name, value in _parameter.findall(header)
            }
            return Challenge(
                parameters.get("realm", ""),
                parameters.get("service", ""),
                parameters.get("error", ""),
            )
    return None


def _named_scheme(header: str) -> str:
    matched = _scheme.match(header)
    return matched[1].lower() if matched else ""


def check(answer: HttpAnswer) -> DoctorFinding:
    """Return the finding on the answer to a request without a token."""
    if answer.status == 401:
        if parse(answer.headers) is not None:
            return passed(CHECK, "it asks clients for a registry token")
        return _other_challenge(answer)
    return failed(CHECK, *_no_challenge(answer))


def _no_challenge(answer: HttpAnswer) -> tuple[str, str]:
    """Return the reason and the cure for an answer other than 401."""
    match answer.status:
        case 200:
            return (
                "it answers without any token: everybody may do everything",
                f"{SECTION} and restart it",
            )
        case 301 | 302 | 303 | 307 | 308:
            where = printable(str(answer.headers["Location"]), 200)
            return (
                f"it redirects to {where}, which clients do not follow for pushes",
                "name the URL that it redirects to, and have clients use that name",
            )
        case 400 if b"https" in answer.body.lower():
            return "it has TLS on this port", "write https:// in the URL"
        case 404:
            return (
                "there is no registry API under /v2/: it answers 404",
                "name the registry's own URL, and let the proxy in front pass /v2/ to it",
            )
    return (
        f"it answers {answer.status} where a registry asks for a token. {answer.error}".strip(),
        "look at the registry's log, and at that of the proxy in front of it",
    )


def _other_challenge(answer: HttpAnswer) -> DoctorFinding:
    header = answer.headers["WWW-Authenticate"]
    if header is None:
        return failed(
            CHECK,
            "it answers 401 without a WWW-Authenticate header: a proxy takes it away",
            "let the proxy pass WWW-Authenticate on",
        )
    scheme = printable(_named_scheme(str(header)) or "another scheme", 40)
    return failed(
        CHECK,
        f"it asks for {scheme.capitalize()} credentials, not for a registry token",
        f"remove its other auth section (htpasswd, silly) and {SECTION}; or remove the proxy's own "
        "authentication; then restart it",
    )


def check_service(challenge: Challenge, service: str) -> DoctorFinding:
    """Compare the service that the registry names with its registry entry."""
    return compared(
        "challenge.service",
        challenge.service,
        service,
        f'set `service: "{service}"` in its auth.token section and restart it, or add the registry '
        f"under its own name with `{program()} registry add`",
    )


@dataclass(frozen=True)
class ObservedChallenge:
    """A registry's challenge, and how far its clock is ahead of ours (None: it sent no date)."""

    challenge: Challenge
    ahead: timedelta | None


def clock_difference(answer: HttpAnswer, now: datetime) -> timedelta | None:
    """Return how far the server's clock is ahead of ours, None if it sent no date."""
    try:
        date = parsedate_to_datetime(str(answer.headers["Date"]))
        # Without a zone it is UTC (RFC 9110, 5.6.7).
        return (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
    except (TypeError, ValueError, OverflowError):
        return None


def check_clock(ahead: timedelta | None) -> DoctorFinding:
    """Return the finding on a clock difference; the Date header has whole seconds."""
    if ahead is None:
        return not_tried(CLOCK, "its answers have no Date header to compare with")
    seconds = abs(ahead.total_seconds())
    if abs(ahead) <= ALLOWED:
        return passed(CLOCK, f"its clock and ours agree within {max(seconds, 1):.0f} seconds")
    side = "ahead of" if ahead > timedelta() else "behind"
    return failed(
        CLOCK,
        f"its clock is {seconds:.0f} seconds {side} ours: registries allow 60, and a token is "
        "refused before its time or after it",
        "set both clocks by NTP; behind a proxy the Date header may be the proxy's clock",
    )

"""Whether the registry's clock and ours agree."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from authserver.registry.doctor.findings import Finding, failed, not_tried, passed
from authserver.registry.doctor.http import Answer

CHECK = "clock"
# A registry allows 60 seconds; half of that is for what the next weeks bring.
ALLOWED = timedelta(seconds=30)


def difference(answer: Answer, now: datetime) -> timedelta | None:
    """Return how far the answering clock is ahead of ours, None if it does not say."""
    try:
        date = parsedate_to_datetime(str(answer.headers["Date"]))
        # Without a zone it is UTC (RFC 9110, 5.6.7).
        return (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
    except (TypeError, ValueError, OverflowError):
        return None


def check(ahead: timedelta | None) -> Finding:
    """Say what a difference means; the Date header has whole seconds."""
    if ahead is None:
        return not_tried(CHECK, "its answers have no Date header to compare with")
    seconds = abs(ahead.total_seconds())
    if abs(ahead) <= ALLOWED:
        return passed(CHECK, f"its clock and ours agree within {max(seconds, 1):.0f} seconds")
    side = "ahead of" if ahead > timedelta() else "behind"
    return failed(
        CHECK,
        f"its clock is {seconds:.0f} seconds {side} ours: registries allow 60, and a token is "
        "refused before its time or after it",
        "set both clocks by NTP; behind a proxy the Date header may be the proxy's clock",
    )

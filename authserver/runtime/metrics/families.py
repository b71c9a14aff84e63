"""Every metric that there is: name, help, labels, and how the workers' numbers become one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds: from a token that is signed at once to bcrypt under a flood."""


class MetricType(Enum):
    """The type that Prometheus is told. An AGE is a gauge, written down as when it began."""

    COUNTER = auto()
    HISTOGRAM = auto()
    GAUGE = auto()
    AGE = auto()


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. ``name`` is as it is scraped, ``across`` makes one gauge of the workers'."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    across: Callable[[Iterable[float]], float] = max


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(name, MetricType.COUNTER, text, labels)


def _gauge(
    name: str,
    text: str,
    *labels: str,
    across: Callable[[Iterable[float]], float] = max,
) -> Family:
    return Family(name, MetricType.GAUGE, text, labels, across)


TOKEN_REQUESTS = _counter(
    "authserver_token_requests_total",
    "Token requests by registry (empty if none was found), outcome, and credential shown.",
    *("registry", "outcome", "credential"),
)
TOKEN_REQUEST_DURATION = Family(
    "authserver_token_request_duration_seconds",
    MetricType.HISTOGRAM,
    "Time from a token request that has been read to its answer, by the credential shown.",
    ("credential",),
)
HTTP_RESPONSES = _counter(
    "authserver_http_responses_total",
    "HTTP responses of the application, by part of it and status code.",
    *("part", "code"),
)
PASSWORD_CHECKS = _counter(
    "authserver_password_checks_total",
    "Passwords that were shown: remembered (no bcrypt), right, or wrong.",
    "result",
)
LIMITED = _counter(
    "authserver_limited_logins_total",
    "Logins that were turned away unchecked after too many failures, by the limit that was hit.",
    "limit",
)
UNREADABLE_ADDRESSES = _counter(
    "authserver_unreadable_addresses_total",
    "Requests whose client is unknown: a trusted proxy's header could not be read.",
    "header",
)
UNHEEDED_PROXIES = _counter(
    "authserver_unheeded_proxy_requests_total",
    "Requests whose header about the client is not heeded: the peer is no trusted proxy, or the "
    "header is not the one that is read.",
    "header",
)
LIMITS_ALONE = _gauge(
    "authserver_limits_alone",
    "1 while failed logins are counted by this server alone: the common store of counts is away.",
)
RECORDS_PENDING = _gauge(
    "authserver_audit_records_pending",
    "Records of token requests that wait to be stored.",
    across=sum,
)
RECORDS_SPOOLED = _gauge(
    "authserver_audit_spool_bytes",
    "Records of token requests that wait on the disk, in bytes: the store takes none.",
    across=sum,
)
RECORDS_FULL = _gauge(
    "authserver_audit_records_full",
    "1 while neither the store nor the disk takes records, so that no tokens are issued.",
)
RECORDS_LOST = _counter(
    "authserver_audit_records_lost_total",
    "Records of refused token requests that were lost because too many waited.",
)
REQUESTS_COUNTED = _counter(
    "authserver_audit_requests_counted_total",
    "Requests of strangers in vain that share a record with others: only their number is stored.",
)
RECORDS_BYTES = _gauge(
    "authserver_audit_records_bytes",
    "Space that records of token requests take in the store, about.",
)
RECORDS_PRUNED_EARLY = _counter(
    "authserver_audit_records_pruned_early_total",
    "Records of token requests that were deleted for want of space.",
)
STORE_FREE = _gauge(
    "authserver_store_free_bytes",
    "Space that is free for an embedded store; absent for PostgreSQL.",
    across=min,
)
STORE_FULL = _gauge(
    "authserver_store_full",
    "1 while the store is full and the oldest records are pruned, and for ten minutes afterwards.",
)
RECORDS_ALTERED = _gauge(
    "authserver_audit_records_altered",
    "1 while the last checkpoint found audit records that are not as they were written.",
)
LOG_PENDING = _gauge(
    "authserver_audit_log_pending",
    "Lines that wait to be written to the audit log, the second copy.",
    across=sum,
)
LOG_LOST = _counter(
    "authserver_audit_log_lost_total",
    "Lines that the audit log lacks because too many waited.",
)
STORE_ERRORS = _counter(
    "authserver_store_errors_total",
    "Times that a worker could not keep up with the store: read it, or write to it.",
)
STORE_UNREACHABLE = _gauge(
    "authserver_store_unreachable",
    "1 while a worker cannot reach the store and goes on from what it knows, if it may.",
)
SNAPSHOT_AGE = Family(
    "authserver_snapshot_age_seconds",
    MetricType.AGE,
    "Time since the rules and accounts in memory were last known to be the store's, "
    "of the worker that is furthest behind.",
    across=min,
)
SNAPSHOT_VERSION = _gauge(
    "authserver_snapshot_version",
    "Version of the store in memory, of the worker that is furthest behind; a change adds one.",
    across=min,
)
SIGNING_KEY_EXPIRY = _gauge(
    "authserver_signing_key_expiry_timestamp_seconds",
    "When the certificate of the signing key in use expires, since 1970.",
    across=min,
)
KEY_EXPIRY = _gauge(
    "authserver_key_expiry_timestamp_seconds",
    "When each key in use ends, since 1970: the authority, its signing key, registries' own keys.",
    *("key",),
    across=min,
)
TLS_EXPIRY = _gauge(
    "authserver_tls_certificate_expiry_timestamp_seconds",
    "When the first TLS certificate that is served expires, since 1970; only if TLS is served.",
    across=min,
)
APP_TOKENS = _gauge(
    "authserver_app_tokens",
    "App tokens that are good now.",
)
APP_TOKENS_EXPIRING = _gauge(
    "authserver_app_tokens_expiring",
    "App tokens that are good now and expire within so many days.",
    "days",
)
APP_TOKEN_EXPIRY = _gauge(
    "authserver_app_token_expiry_timestamp_seconds",
    "When the next app token expires, since 1970; absent if none does.",
    across=min,
)
BUILD_INFO = _gauge(
    "authserver_build_info",
    "Always 1; the labels say what runs.",
    *("version", "python"),
)
WORKERS = _gauge(
    "authserver_workers",
    "Worker processes that have reported within the last seconds.",
    across=sum,
)
CPU = _counter(
    "authserver_process_cpu_seconds_total",
    "Processor time of all workers.",
)
MEMORY = _gauge(
    "authserver_process_resident_memory_bytes",
    "Resident memory of the worker that has most.",
)
OPEN_FDS = _gauge(
    "authserver_process_open_fds",
    "Open file descriptors of the worker that has most.",
)

FAMILIES = {family.name: family for family in globals().values() if isinstance(family, Family)}
"""All of them, by name."""

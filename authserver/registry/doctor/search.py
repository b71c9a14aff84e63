"""The search for a test token that a registry accepts, where it refuses the usual one."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from authserver.core.errors import Refused
from authserver.core.names import service_name
from authserver.keys.jose import HeaderMode
from authserver.registry.doctor import clock, probe
from authserver.registry.doctor.expected import Ours
from authserver.registry.doctor.probe import Probe
from authserver.registry.doctor.remote import Remote
from authserver.registry.doctor.seen import Seen

# Issuers that stand in the documentation of registries and of docker_auth, and get copied.
COPIED_ISSUERS = ("registry-token-issuer", "Acme auth server", "Auth Service", "authserver")


def adapted(usual: Probe, seen: Seen) -> Probe:
    """Return the probe with what the registry says of itself: its service and its clock."""
    made = usual
    if seen.ahead is not None and abs(seen.ahead) > clock.ALLOWED:
        made = replace(made, at=usual.at + seen.ahead)
    try:
        return replace(made, audience=service_name(seen.challenge.service))
    except Refused:
        return made


def accepted(remote: Remote, ours: Ours, like: Probe) -> Probe | None:
    """Return the first probe that is accepted, of those with another key or issuer."""
    candidates = list(_candidates(ours, like))
    for issuer in _issuers(ours, like):
        for candidate in candidates:
            tried = replace(candidate, issuer=issuer)
            if tried.accepted(remote):
                return tried
    return None


def _candidates(ours: Ours, like: Probe) -> Iterator[Probe]:
    yield like
    for authority in ours.authorities:
        yield probe.under(authority, like)
    for mode in (HeaderMode.LIBTRUST, HeaderMode.RFC7638):
        yield from by_key_ids(ours, mode, like)


def by_key_ids(ours: Ours, mode: HeaderMode, like: Probe) -> Iterator[Probe]:
    """Give the probes that name a key by its id: the entry's own key, and the authority's."""
    if ours.has_own_key:
        yield replace(like, mode=mode, key=ours.key, authority=None)
    yield probe.by_key_id(mode, ours.authority, like)


def _issuers(ours: Ours, like: Probe) -> list[str]:
    parts = urlsplit(ours.realm)
    guesses = (
        ours.issuer,
        *COPIED_ISSUERS,
        ours.realm,
        ours.realm.removesuffix("/token"),
        parts.netloc,
        parts.hostname or "",
        ours.service,
        like.audience,
    )
    return [guess for guess in dict.fromkeys(guesses) if guess]

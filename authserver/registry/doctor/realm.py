"""Check the realm that the registry sends clients to: is it ours, reachable, and accepted?"""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

from authserver.core.errors import Refused
from authserver.core.names import printable
from authserver.keys.compatibility import Version
from authserver.registry.distribution import parsing
from authserver.registry.distribution.verify import judge
from authserver.registry.doctor.challenge import Challenge
from authserver.registry.doctor.expected import Expected
from authserver.registry.doctor.findings import DoctorFinding, failed, not_tried, passed
from authserver.registry.doctor.http import Fetcher, HttpAnswer, Remote, Unreachable


def check(
    challenge: Challenge, remote: Remote, expected: Expected, *, ask_foreign: bool
) -> Iterator[DoctorFinding]:
    """Yield the findings on a challenge's realm.

    A request goes to a foreign realm only with ``ask_foreign``: the registry chooses that URL, and
    it may name a host that only this machine can reach.
    """
    yield from _identity(challenge.realm, remote.fetcher, expected, ask_foreign=ask_foreign)
    yield _scheme(challenge.realm, remote)
    yield _address(challenge.realm, remote)


def _identity(
    realm: str, fetcher: Fetcher, expected: Expected, *, ask_foreign: bool
) -> Iterator[DoctorFinding]:
    shown = printable(realm, 200) or "missing"
    cure = f'set `realm: "{expected.realm}"` in its auth.token section and restart it'
    if realm == expected.realm:
        yield passed("challenge.realm", f"it is {shown}, which is ours")
        why = _why_foreign(realm, fetcher, expected)
        yield (
            passed("realm.answers", "it gives tokens of ours")
            if why is None
            else failed(
                "realm.answers",
                why,
                "let this machine and the clients reach authserver there, and start it; "
                "AUTHSERVER_PUBLIC_URL is where that URL comes from",
            )
        )
        return
    if not ask_foreign:
        yield failed("challenge.realm", f"it is {shown}, and ours is {expected.realm}", cure)
        yield not_tried("realm.answers", "only our own realm is asked from here")
        return
    why = _why_foreign(realm, fetcher, expected)
    if why is None:
        yield passed(
            "challenge.realm",
            f"it is {shown}, another name of ours: AUTHSERVER_PUBLIC_URL makes it {expected.realm}",
        )
        yield passed("realm.answers", "it gives tokens of ours")
    else:
        yield failed("challenge.realm", f"it is {shown}, not {expected.realm}: {why}", cure)
        yield not_tried("realm.answers", "the registry names another realm than ours")


def _why_foreign(realm: str, fetcher: Fetcher, expected: Expected) -> str | None:
    """Fetch an anonymous token from a realm; return why it is not ours, None if it is."""
    query = urlencode({"service": expected.service, "client_id": "authserver-doctor"})
    joint = "&" if "?" in realm else "?"
    try:
        answer = fetcher.fetch(f"{realm}{joint}{query}")
    except (Refused, Unreachable) as error:
        return str(error)
    token = token_in(answer)
    if token is None:
        return f"it answers {answer.status} and no token. {answer.error}".strip()
    return _why_untrusted(token, expected)


def token_in(answer: HttpAnswer) -> str | None:
    """Return the registry token of a token endpoint's answer, None if the answer has no token."""
    match answer.json():
        case {"token": str(token)} | {"access_token": str(token)} if answer.status == 200:
            return token
    return None


def _why_untrusted(token: str, expected: Expected) -> str | None:
    try:
        verdict = judge(parsing.read(token), expected.trust(), Version.V3_1, expected.clock())
    except Refused as error:
        return str(error)
    if verdict.accepted:
        return None
    return f"what answers there is another installation, or has another store: {verdict.reasons[0]}"


def _scheme(realm: str, remote: Remote) -> DoctorFinding:
    if remote.has_tls and realm.lower().startswith("http:"):
        return failed(
            "realm.https",
            "the registry is https and the realm http: passwords cross the network readable, and "
            "crane and oras refuse it",
            "serve authserver by https, set AUTHSERVER_PUBLIC_URL to that URL and `realm:` to the "
            "same with /token; then restart both",
        )
    return passed("realm.https", "clients accept its scheme with that of the registry")


def _address(realm: str, remote: Remote) -> DoctorFinding:
    address = _literal(realm)
    if address is None:
        return passed("realm.address", "its host is a name")
    if not (address.is_private or address.is_loopback or address.is_link_local):
        return passed("realm.address", f"its host is the public address {address}")
    if urlsplit(realm).netloc == urlsplit(remote.url).netloc:
        return passed("realm.address", "its host is the registry's own address")
    return failed(
        "realm.address",
        f"its host is the private address {address}: crane and oras refuse that",
        "set AUTHSERVER_PUBLIC_URL to a URL with a DNS name and `realm:` to the same with /token; "
        "then restart both",
    )


def _literal(realm: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(urlsplit(realm).hostname or "")
    except ValueError:
        return None

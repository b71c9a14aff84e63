"""Whether an answer is one that the rules allowed: signature, claims, grant."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from tests.e2e.fetching import Answer
from tests.soak.facts import IN_FORCE_SECONDS, Fact, Reach

ISSUER, SERVICE = "authserver", "registry"
ANSWERED_BY = "X-Answered-By"
"""The header in which nginx names the servers that it asked, the one that answered last."""


class Wrong(Exception):
    """An answer that the rules did not allow at any moment near the request."""


@dataclass(frozen=True)
class Rights:
    """What the rules grant on a repository."""

    repository: str
    pull: Fact
    push: Fact


@dataclass(frozen=True)
class Question:
    """What one client asks for, and what its answer depends on.

    Without ``rights`` it only logs in. ``alive`` is whether the credential is good.
    """

    way: str
    account: str
    rights: Rights | None
    alive: Fact
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"

    def needs(self, actions: set[str]) -> list[tuple[Fact, bool]]:
        """Return the facts that the answer depends on, and whether a grant needs them true."""
        needs = [(self.alive, True)]
        if self.rights is not None:
            needs.append((self.rights.pull, "pull" in actions))
            needs.append((self.rights.push, "push" in actions))
        return needs


@dataclass(frozen=True)
class Verdict:
    """What is to be counted of an answer: ``by`` which server it is.

    ``stale``: the grant is one of before an outage, while it lasted; ``narrow``: it was less than
    the rules had granted for longer than a change may take.
    """

    kind: str
    by: str = ""
    jwt_id: str = ""
    stale: bool = False
    narrow: bool = False


@dataclass(frozen=True)
class Judge:
    """Knows the authority that registries trust, and when the store was gone for which server."""

    bundle: str
    reaches: Mapping[str, Reach]

    def verdict(self, question: Question, answer: Answer, sent: float, received: float) -> Verdict:
        """Judge an answer to a request; the times are of the monotonic clock.

        Raises:
            Wrong: it is more than the rules allowed, or no good token.
        """
        by = answered_by(answer)
        if by not in self.reaches:  # nginx itself
            return Verdict(str(answer.status))
        reach = self.reaches[by]
        since = reach.known_since(sent)
        if answer.status == 401 and question.alive.may_be(value=False, since=since, until=received):
            return Verdict("refused", by)
        if answer.status != 200:
            return Verdict(str(answer.status), by)
        if reach.must_refuse(sent, received):
            raise Wrong(f"{question.way}: a token, too long after the store was lost")
        claims = self._claims(answer.json()["token"])
        actions = _granted(question, claims)
        needed = [fact for fact, is_needed in question.needs(actions) if is_needed]
        left_out = [fact for fact, is_needed in question.needs(actions) if not is_needed]
        for fact in needed:
            if not fact.may_be(value=True, since=since, until=received):
                raise Wrong(f"{question.way}: granted {sorted(actions)} without {fact.name}")
        recent = sent - IN_FORCE_SECONDS
        return Verdict(
            "granted",
            by,
            # A token that grants nothing may be counted with others like it.
            jwt_id=claims["jti"] if actions else "",
            stale=not all(fact.may_be(value=True, since=recent, until=received) for fact in needed),
            narrow=not all(
                fact.may_be(value=False, since=since, until=received) for fact in left_out
            ),
        )

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            certificate = _certificate(jwt.get_unverified_header(token)["x5c"][0], self.bundle)
            key = certificate.public_key()
            assert isinstance(key, EllipticCurvePublicKey)
            return jwt.decode(token, key, ["ES256"], audience=SERVICE, issuer=ISSUER)
        except (jwt.PyJWTError, KeyError, ValueError) as error:
            raise Wrong(f"not a token of ours: {error}") from error


def answered_by(answer: Answer) -> str:
    """Return the address of the server that answered; empty if none did."""
    return str(answer.headers.get(ANSWERED_BY, "")).rpartition(", ")[2]


def _granted(question: Question, claims: dict[str, Any]) -> set[str]:
    """Return the actions that a token grants on what was asked for.

    Raises:
        Wrong: it grants something else, or to somebody else.
    """
    if claims["sub"] != question.account:
        raise Wrong(f"{question.way}: a token of {claims['sub']!r}, not {question.account!r}")
    actions: set[str] = set()
    repository = question.rights.repository if question.rights else None
    for entry in claims["access"]:
        if (entry["type"], entry["name"]) != ("repository", repository):
            raise Wrong(f"{question.way}: granted {entry}, which was not asked for")
        actions |= set(entry["actions"])
    if not actions <= {"pull", "push"}:
        raise Wrong(f"{question.way}: granted {sorted(actions)}, which was not asked for")
    return actions


@lru_cache
def _certificate(encoded: str, bundle: str) -> x509.Certificate:
    """Return the certificate that a token carries.

    Raises:
        ValueError: no authority of the bundle has signed it, or it is not valid now.
    """
    certificate = x509.load_der_x509_certificate(base64.b64decode(encoded))
    now = datetime.now(certificate.not_valid_after_utc.tzinfo)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ValueError("its certificate is not valid now")
    for authority in x509.load_pem_x509_certificates(bundle.encode()):
        try:
            certificate.verify_directly_issued_by(authority)
        except Exception:  # noqa: BLE001 - whatever it is, this one has not signed it
            continue
        return certificate
    raise ValueError("its certificate is by no authority of the bundle")

"""Tell whether a version of Distribution accepts a token, and why not."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt

from authserver.core.names import printable
from authserver.keys.compatibility import Version
from authserver.registry.distribution import claim_set, key_lookup
from authserver.registry.distribution.claim_set import ClaimSet
from authserver.registry.distribution.key_ids import PublicKey
from authserver.registry.distribution.key_lookup import Untrusted
from authserver.registry.distribution.parsing import ParsedToken
from authserver.registry.distribution.trust import RegistryTrust


@dataclass(frozen=True)
class TokenVerdict:
    """One version's verdict on a token, with the reasons of a refusal."""

    version: Version
    reasons: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        return {
            "version": str(self.version),
            "accepted": self.accepted,
            "reasons": list(self.reasons),
        }


def judge(token: ParsedToken, trust: RegistryTrust, version: Version, at: datetime) -> TokenVerdict:
    """Verify a token against ``trust`` at the time ``at``, and collect every reason to refuse it.

    A registry stops at the first reason and writes it only to its log.
    """
    malformed = tuple(claim_set.unreadable(token, version))
    if malformed:
        return TokenVerdict(version, malformed)
    claims = claim_set.claim_set(token, version)
    reasons = (
        *_misdirected(claims, trust),
        *claim_set.untimely(claims, at),
        *_not_signed(token, trust, version, at),
    )
    return TokenVerdict(version, reasons)


def _misdirected(claims: ClaimSet, trust: RegistryTrust) -> Iterator[str]:
    if trust.issuer is not None and claims.issuer != trust.issuer:
        yield f"its issuer is {_quoted(claims.issuer)}, not {_quoted(trust.issuer)}"
    if trust.services is not None and not trust.services.intersection(claims.audiences):
        services = " or ".join(_quoted(service) for service in sorted(trust.services))
        audiences = ", ".join(_quoted(audience) for audience in claims.audiences) or "missing"
        yield f"its audience is {audiences}, not {services}"


def _quoted(text: str) -> str:
    return f'"{printable(text)}"'


def _not_signed(
    token: ParsedToken, trust: RegistryTrust, version: Version, at: datetime
) -> Iterator[str]:
    algorithm = token.header.get("alg")
    if algorithm not in version.algorithms:
        yield f"{version} takes no token with alg {_quoted(str(algorithm))}"
        return
    try:
        key = key_lookup.find(token, trust, version, at)
    except Untrusted as error:
        yield str(error)
        return
    if not _verifies(token, key):
        yield "the signature is not by the key that its header names"


def _verifies(token: ParsedToken, key: PublicKey) -> bool:
    algorithm = jwt.get_algorithm_by_name(str(token.header["alg"]))
    try:
        prepared = algorithm.prepare_key(key)
    except (jwt.InvalidKeyError, TypeError):
        return False
    return algorithm.verify(token.signed, prepared, token.signature)

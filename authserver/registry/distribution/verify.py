"""Whether a version of Distribution accepts a token, and why not."""

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
    """What one version says to a token; without reasons it accepts it."""

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
    """Hold a token against ``trust`` at the time ``at``.

    Every reason is given. A registry stops at the first and writes it only to its log.
    """
    malformed = tuple(claim_set.unreadable(token, version))
    if malformed:
        return TokenVerdict(version, malformed)
    read = claim_set.claim_set(token, version)
    reasons = (
        *_not_meant(read, trust),
        *claim_set.untimely(read, at),
        *_not_signed(token, trust, version, at),
    )
    return TokenVerdict(version, reasons)


def _not_meant(read: ClaimSet, trust: RegistryTrust) -> Iterator[str]:
    if trust.issuer is not None and read.issuer != trust.issuer:
        yield f"its issuer is {_quoted(read.issuer)}, not {_quoted(trust.issuer)}"
    if trust.services is not None and not trust.services.intersection(read.audiences):
        wanted = " or ".join(_quoted(service) for service in sorted(trust.services))
        found = ", ".join(_quoted(audience) for audience in read.audiences) or "missing"
        yield f"its audience is {found}, not {wanted}"


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

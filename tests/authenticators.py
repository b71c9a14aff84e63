"""A passkey in software: what a browser sends when it makes one, and when it proves one."""

import json
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Passkey:
    """A passkey on the page ``origin`` of ``host``, which counts its uses."""

    host: str
    origin: str
    count: int = 0
    flags: int = PRESENT
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def make(self, options: str) -> str:
        """Return the answer to the options of an enrolment."""
        numbers = self.key.public_key().public_numbers()
        point = {-2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        public = cbor2.dumps({1: 2, 3: -7, -1: 1} | point)
        credential = bytes(16) + len(self.id).to_bytes(2) + self.id + public
        data = self._data(ATTESTED) + credential
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        said = self._said("webauthn.create", options)
        return self._answer(said, attestationObject=attestation, transports=["internal", "odd"])

    def prove(self, options: str) -> str:
        """Return the answer to the options of a login."""
        self.count += 1
        said, data = self._said("webauthn.get", options), self._data(0)
        signature = self.key.sign(data + sha256(said).digest(), ec.ECDSA(SHA256()))
        return self._answer(said, authenticatorData=data, signature=signature)

    def _data(self, flags: int) -> bytes:
        host = sha256(self.host.encode()).digest()
        return host + bytes([self.flags | flags]) + self.count.to_bytes(4)

    def _said(self, kind: str, options: str) -> bytes:
        challenge = json.loads(options)["challenge"]
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _answer(self, said: bytes, **more: Any) -> str:
        response = {
            name: encoded(value) if isinstance(value, bytes) else value
            for name, value in {"clientDataJSON": said, **more}.items()
        }
        answer = {"id": encoded(self.id), "rawId": encoded(self.id), "type": "public-key"}
        return json.dumps(answer | {"response": response})

"""Certificates for servers of ours, from an authority that tests trust."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

NAMES = x509.SubjectAlternativeName(
    [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Authority:
    """A certificate authority; ``file`` is what a client trusts it by."""

    private: ec.EllipticCurvePrivateKey
    file: Path

    @classmethod
    def make(cls, place: Path) -> "Authority":
        place.mkdir(exist_ok=True)
        made = cls(ec.generate_private_key(ec.SECP256R1()), place / "ca.pem")
        certificate = made._builder("test authority", made.private.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        signed = certificate.sign(made.private, hashes.SHA256())
        made.file.write_bytes(signed.public_bytes(Encoding.PEM))
        return made

    def certify(self, certificate: Path, key: Path, passphrase: bytes | None = None) -> None:
        """Make a new key and certificate for this machine, in place of what the files hold."""
        private = ec.generate_private_key(ec.SECP256R1())
        signed = (
            self._builder("localhost", private.public_key())
            .add_extension(NAMES, critical=False)
            .sign(self.private, hashes.SHA256())
        )
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))

    def _builder(self, name: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name("test authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=30))
        )

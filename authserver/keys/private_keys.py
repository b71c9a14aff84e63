"""Where private keys are: sealed in the store, or in files that a secret manager mounts."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from cryptography import x509
from sqlalchemy import select
from sqlalchemy.orm import Session

from authserver.core.errors import NotReady, Refused
from authserver.db.models import AuthorityRow, SigningKeyRow, StoreStateRow
from authserver.keys import keyring
from authserver.keys.jose import KeyPair, PrivateKey
from authserver.keys.master_key import MasterKey, find_master_key

MAX_FILE_BYTES = 64 * 1024

Row = AuthorityRow | SigningKeyRow


@dataclass(frozen=True)
class Safe:
    """Opens private keys. ``directory`` holds those that never enter the store, as PEM files."""

    master: MasterKey = field(repr=False)
    master_key_path: Path
    directory: Path | None

    @classmethod
    def of(cls, session: Session, master_key_path: Path, directory: Path | None) -> "Safe":
        """Return the safe of a store.

        Raises:
            NotReady: the master key file is missing, or is not the store's.
        """
        master = find_master_key(master_key_path, master_key_id(session))
        return cls(master, master_key_path, directory)

    def still_of(self, session: Session) -> "Safe":
        """Return the safe that fits the store now: its master key may have been changed.

        Raises:
            NotReady: as :meth:`of`.
        """
        if self.master.is_named(master_key_id(session)):
            return self
        return Safe.of(session, self.master_key_path, self.directory)

    def seal(self, row: Row, pair: KeyPair) -> None:
        """Keep the private half of ``row``, which has its id, in the store."""
        row.private_key = self.master.seal(pair.private_der(), sealed_name(row))

    def open(self, row: Row) -> KeyPair:
        """Return a key pair.

        Raises:
            NotReady: it does not open with the master key, its file is missing, or it is retired
                and its private half is gone.
        """
        if row.private_key is not None:
            plain = self.master.open(row.private_key, sealed_name(row))
            return keyring.load_key_pair(plain, row.certificate)
        if row.retired_at is not None:
            raise NotReady(f"the private key of {sealed_name(row)} was destroyed: it is retired")
        certificate = x509.load_pem_x509_certificate(row.certificate.encode())
        return KeyPair(self.private_key_of(certificate, sealed_name(row)), certificate)

    def private_key_of(self, certificate: x509.Certificate, name: str) -> PrivateKey:
        """Return a certificate's private key from the directory; ``name`` says whose it is.

        Raises:
            NotReady: there is no such file, or it is open to everyone.
        """
        for path, private in self._outside():
            if private.public_key() == certificate.public_key():
                if path.stat().st_mode & 0o007:
                    chmod = f"chmod 600 {quote(str(path.absolute()))}"
                    raise NotReady(f"the private key file {path} is open to everyone: {chmod}")
                return private
        place = self.directory or "AUTHSERVER_PRIVATE_KEY_DIR, which is not set"
        raise NotReady(f"the private key of {name} is in no file of {place}")

    def _outside(self) -> Iterator[tuple[Path, PrivateKey]]:
        if self.directory is None:
            return
        try:
            files = sorted(path for path in self.directory.iterdir() if path.is_file())
            for path in files:
                with path.open("rb") as file:
                    pem = file.read(MAX_FILE_BYTES)
                try:
                    yield path, keyring.read_private_key(pem, checked=False)
                except Refused:  # a certificate, or a key for something else
                    continue
        except OSError as error:
            raise NotReady(
                f"the private keys in {self.directory} cannot be read: {error.strerror}"
            ) from None


def master_key_id(session: Session) -> str:
    """Return the id of the master key that this store's private keys are sealed with."""
    return session.scalars(select(StoreStateRow.master_key_id)).one()


def role(row: Row) -> str:
    return "authority" if isinstance(row, AuthorityRow) else "signing key"


def sealed_name(row: Row) -> str:
    """Return the name that a private key is bound to when it is sealed."""
    return f"{role(row)} {row.id}"

"""The master key, and private keys encrypted under it (AES-256-GCM)."""

import base64
import binascii
import hmac
import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from shlex import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from authserver.core.errors import NotReady, Refused

KEY_BYTES = 32
NONCE_BYTES = 12


@dataclass(frozen=True)
class MasterKey:
    """32 random bytes. The file holds them in base64; the store holds only :attr:`id`."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Return what tells this key from another and does not help to guess it.

        A store whose audit chains have begun names the key so.
        """
        return sha256(b"authserver master key of audit chains\0" + self.secret).hexdigest()[:16]

    @property
    def id_before_chains(self) -> str:
        """Return how a store names this key as long as its audit chains have not begun.

        It does not follow from :attr:`id`: without the key, a store that had chains cannot be made
        into one that never had any.
        """
        return sha256(b"authserver master key\0" + self.secret).hexdigest()[:16]

    def is_named(self, wanted: str) -> bool:
        """Whether a store that names its master key ``wanted`` means this one."""
        return wanted in (self.id, self.id_before_chains)

    def derive(self, purpose: str) -> bytes:
        """Return a key of its own for ``purpose``, from which no other can be had."""
        return hmac.digest(self.secret, f"authserver {purpose}".encode(), sha256)

    def seal(self, plain: bytes, name: str) -> bytes:
        """Encrypt ``plain``, bound to ``name``: under another name it does not open."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.secret).encrypt(nonce, plain, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """Decrypt what :meth:`seal` made.

        Raises:
            NotReady: this is not the key it was sealed with, or the bytes were changed.
        """
        nonce, encrypted = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return AESGCM(self.secret).decrypt(nonce, encrypted, name.encode())
        except (InvalidTag, ValueError):
            raise NotReady(
                f"the private key of {name} does not open with this master key: "
                "bring the master key file that belongs to this store"
            ) from None


def read_master_key(path: Path) -> MasterKey:
    """Read a master key file.

    Raises:
        NotReady: the file is missing, unreadable, open to others, or holds no master key.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1024)
    except FileNotFoundError:
        raise NotReady(
            f"the master key file {path} is missing: bring it back, or name it with "
            "AUTHSERVER_MASTER_KEY_FILE; no new one is made for a store that has keys"
        ) from None
    except OSError as error:
        raise NotReady(f"the master key file {path} cannot be read: {error.strerror}") from None
    if mode & 0o007:
        chmod = f"chmod 600 {quote(str(path.absolute()))}"
        raise NotReady(f"the master key file {path} is open to everyone: {chmod}")
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise NotReady(f"the file {path} holds no master key ({KEY_BYTES} bytes in base64)")
    return MasterKey(secret)


def beside(path: Path) -> Path:
    """Return where the next master key is while the store changes over to it."""
    return path.with_name(f"{path.name}.new")


def find_master_key(path: Path, wanted: str) -> MasterKey:
    """Read the master key whose id is ``wanted``: from its file, or from the one beside it.

    Raises:
        NotReady: as :func:`read_master_key`, or neither file holds it.
    """
    master = read_master_key(path)
    if master.is_named(wanted):
        return master
    if beside(path).exists() and (following := read_master_key(beside(path))).is_named(wanted):
        return following
    raise NotReady(
        f"the master key {master.id} in {path} is not the one of this store ({wanted}): "
        "bring the master key file that belongs to it"
    )


def make_master_key(path: Path) -> MasterKey:
    """Make a new master key file, mode 0600, whole or not at all.

    Raises:
        Refused: the file cannot be written, or exists already.
    """
    master = MasterKey(os.urandom(KEY_BYTES))
    partial = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.b64encode(master.secret) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(partial, path)
        finally:
            partial.unlink()
        _sync(path.parent)
    except OSError as error:
        raise Refused(f"the master key file {path} cannot be made: {error.strerror}") from None
    return master


def take_over(path: Path) -> None:
    """Put the next master key in the place of the one in ``path``.

    Raises:
        Refused: it cannot be written there; until it is, both files are read.
    """
    try:
        beside(path).replace(path)
        _sync(path.parent)
    except OSError as error:
        raise Refused(
            f"the store has the new master key, but {path} cannot be replaced: {error.strerror}; "
            f"put {beside(path)} in its place, and keep both until then"
        ) from None


def _sync(directory: Path) -> None:
    """Have the names in a directory outlive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

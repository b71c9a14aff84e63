"""TLS certificates: checked when they are loaded, and watched for new ones.

``cli/serve`` makes one for each listener with TLS; the server's main process watches its files.
"""

import os
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509

from authserver.core.errors import Refused

LOOK_EVERY = 2.0

Stat = tuple[tuple[int, int, int], ...]

log = structlog.get_logger()


@dataclass
class Certificate:
    """A certificate with its chain and its private key, from two PEM files.

    ``clients`` is the PEM file of the authorities that clients need a certificate of, if any.

    What was found good is held in memory. Workers of ``granian_worker`` read that: a file that is
    being replaced, or is damaged, never gets to them, nor does one that they may not read.
    """

    certificate: Path
    key: Path
    clients: Path | None = None
    ends: datetime = field(init=False)
    _held: int = field(init=False)
    _held_clients: int = field(init=False)
    _seen: Stat = field(init=False)
    _looked: Stat = field(default=(), init=False)

    def __post_init__(self) -> None:
        self._held, self._held_clients = os.memfd_create("tls"), os.memfd_create("tls clients")
        self.load()

    @property
    def held(self) -> str:
        """Return a path at which this process and those forked from it read it, in PEM."""
        return _path(self._held)

    @property
    def held_clients(self) -> str | None:
        """Return such a path of the authorities, in PEM; None if clients need no certificate."""
        return _path(self._held_clients) if self.clients else None

    def load(self) -> None:
        """Take what the files hold now.

        Raises:
            Refused: they cannot be read, or are not what they should be; what was there stays.
        """
        self._seen = self._stat()
        pem = _read(self.certificate), _read(self.key)
        authorities = _read(self.clients) if self.clients else b""
        with _in_memory(b"\n".join(pem)) as new, _in_memory(authorities) as clients:
            ends = self._check(_path(new), pem[0])
            if self.clients:
                _check_authorities(self.clients, _path(clients))
            self.ends = ends
            os.dup2(new, self._held, inheritable=False)
            os.dup2(clients, self._held_clients, inheritable=False)

    def _check(self, path: str, pem: bytes) -> datetime:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Without this one that is encrypted would be asked about on the terminal.
            context.load_cert_chain(path, password=lambda: "")
            return x509.load_pem_x509_certificate(pem).not_valid_after_utc
        except (ssl.SSLError, ValueError) as error:
            why = getattr(error, "reason", None) or str(error)
            raise Refused(
                f"TLS: {self.certificate} and {self.key} are not a certificate and its private "
                f"key without a passphrase, in PEM: {why}"
            ) from None

    def look(self) -> bool:
        """Whether the files hold another good pair than when they were looked at; it is taken."""
        now, before = self._stat(), self._looked
        self._looked = now
        # They are replaced one after the other: wait until that is over.
        return now != self._seen and now == before and self._taken()

    def _taken(self) -> bool:
        try:
            self.load()
        except Refused as error:
            log.error("the TLS certificate stays the old one", error=str(error))
            return False
        log.info("the TLS certificate was replaced", expires_at=self.ends.isoformat())
        return True

    def _stat(self) -> Stat:
        try:
            paths = (self.certificate, self.key, self.clients)
            found = [path.stat() for path in paths if path is not None]
        except OSError:
            return ()
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in found)


def watch(certificates: Collection[Certificate], renewed: Callable[[], None]) -> None:
    """Look after the files in a thread, and call ``renewed`` when there is another good pair."""

    def run() -> None:
        while True:
            time.sleep(LOOK_EVERY)
            renewals = [certificate.look() for certificate in certificates]
            if any(renewals):
                renewed()

    threading.Thread(target=run, name="tls", daemon=True).start()


@contextmanager
def _in_memory(content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("tls")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield descriptor
    finally:
        os.close(descriptor)


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _check_authorities(file: Path, path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except ssl.SSLError as error:
        raise Refused(
            f"TLS: {file} holds no certificate of an authority, in PEM: {error.reason}"
        ) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"TLS: {path} cannot be read: {error.strerror}") from None

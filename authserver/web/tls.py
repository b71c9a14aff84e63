"""The TLS certificate that is served: checked before it is taken, watched for its successor."""

import os
import ssl
import threading
import time
from collections.abc import Callable
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

    What was found good is held in memory, and that is what workers read: a file that is being
    replaced, or is damaged, never gets to them, nor does one that they may not read.
    """

    certificate: Path
    key: Path
    ends: datetime = field(init=False)
    _held: int = field(init=False)
    _seen: Stat = field(init=False)
    _looked: Stat = field(default=(), init=False)

    def __post_init__(self) -> None:
        self._held = os.memfd_create("tls")
        self.load()

    @property
    def held(self) -> str:
        """Return a path at which this process and those forked from it read it, in PEM."""
        return f"/proc/self/fd/{self._held}"

    def load(self) -> None:
        """Take what the files hold now.

        Raises:
            Refused: they cannot be read, or are no certificate and its key; the last pair stays.
        """
        self._seen = self._stat()
        pem = _read(self.certificate), _read(self.key)
        new = os.memfd_create("tls")
        try:
            with open(new, "wb", closefd=False) as file:
                file.write(b"\n".join(pem))
            self.ends = self._check(f"/proc/self/fd/{new}", pem[0])
            os.dup2(new, self._held, inheritable=False)
        finally:
            os.close(new)

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

    def watch(self, renewed: Callable[[], None]) -> None:
        """Look after the files in a thread, and call ``renewed`` when there is another pair."""

        def run() -> None:
            while True:
                time.sleep(LOOK_EVERY)
                if self.look():
                    renewed()

        threading.Thread(target=run, name="tls", daemon=True).start()

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
            found = [path.stat() for path in (self.certificate, self.key)]
        except OSError:
            return ()
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in found)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(f"TLS: {path} cannot be read: {error.strerror}") from None

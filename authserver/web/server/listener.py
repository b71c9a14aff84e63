"""Where the server listens, and the check that nobody else listens there.

``cli/serve`` makes the listeners from the settings.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from errno import EADDRINUSE, EEXIST
from pathlib import Path

from authserver.core.errors import Refused
from authserver.runtime.settings import bracketed
from authserver.web.server.tls import Certificate


@dataclass(frozen=True, slots=True)
class Address:
    """A Unix socket if there is one, else a host and a port.

    ``mode`` is the Unix socket's permissions. ``setting`` names what an operator sets the address
    with.
    """

    host: str
    port: int
    unix_socket: Path | None = None
    mode: int = 0o660
    setting: str = "--host and --port"

    def url(self, scheme: str) -> str:
        if self.unix_socket is not None:
            return f"unix:{self.unix_socket}"
        return f"{scheme}://{bracketed(self.host)}:{self.port}"

    def accepts(self) -> bool:
        """Whether a server accepts connections there."""
        try:
            if self.unix_socket is None:
                socket.create_connection((self.host, self.port), 1).close()
            else:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.unix_socket))
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to listen on; with a ``certificate`` TLS is served there."""

    address: Address
    certificate: Certificate | None = None

    @property
    def url(self) -> str:
        return self.address.url("https" if self.certificate else "http")


@contextmanager
def reserved(listeners: Sequence[Listener]) -> Iterator[None]:
    """Hold the listeners' addresses for the block, so that none is chosen for something else.

    Granian's sockets share an address with any other server's (SO_REUSEPORT), so we look first.

    Raises:
        Refused: somebody listens on one of them, or it cannot be listened on.
    """
    with ExitStack() as probes:
        for listener in listeners:
            _reserve(listener.address, probes)
        yield


def _reserve(address: Address, probes: ExitStack) -> None:
    try:
        if address.unix_socket is not None:
            _remove_dead_socket(address.unix_socket)
            return
        family, kind, protocol, _, resolved = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        probe = probes.enter_context(socket.socket(family, kind, protocol))
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(resolved)
        probe.listen(1)
    except OSError as error:
        raise Refused(
            f"cannot listen on {address.url('http').removeprefix('http://')}: "
            f"{error.strerror or error}; choose another with {address.setting}"
        ) from None


def _remove_dead_socket(path: Path) -> None:
    """Remove the socket of a server that was killed.

    Raises:
        OSError: a server listens there, the file is not a socket, or none can be made there.
    """
    if path.exists() and not path.is_socket():
        raise OSError(EEXIST, "it is there and no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except FileNotFoundError:
            pass
        else:
            raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(path))
    path.unlink()

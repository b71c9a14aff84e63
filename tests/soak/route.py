"""The way from one replica to PostgreSQL, which can be cut or lose all packets."""

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from tests.programs import free_port

_CHUNK = 65536
_CONNECT_SECONDS = 5.0

# socket(7); Python has no names for them.
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""The one instruction of a packet filter (BPF) that takes no byte of any packet."""


@dataclass
class Route:
    """A port of loopback from which connections lead to another, as long as the way is open."""

    target: int
    port: int = field(default_factory=free_port)
    _listener: socket.socket | None = None
    _callers: list[socket.socket] = field(default_factory=list)
    _turn: Lock = field(default_factory=Lock)
    _open: Event = field(default_factory=Event)

    def open(self) -> None:
        """Let connections through."""
        with self._turn:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", self.port))
                Thread(target=self._accept, args=(self._listener,), daemon=True).start()
            if not self._open.is_set():
                for held in (self._listener, *self._callers):
                    with suppress(OSError):  # its caller has given up
                        held.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            self._open.set()

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        with self._turn:
            if self._listener is not None:
                self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None
            for caller in self._callers:
                with suppress(OSError):
                    caller.shutdown(socket.SHUT_RDWR)
            self._open.set()

    def lose_packets(self) -> None:
        """Have the kernel drop what comes, the first packet of a connection too; answer nothing."""
        with self._turn:
            assert self._listener is not None
            self._open.clear()
            for socket_ in (self._listener, *self._callers):
                _drop_all(socket_)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the way was cut
            while True:
                caller, _ = listener.accept()
                with self._turn:
                    self._callers.append(caller)
                    if not self._open.is_set():
                        _drop_all(caller)
                Thread(target=self._carry, args=(caller,), daemon=True).start()

    def _carry(self, caller: socket.socket) -> None:
        """Carry bytes both ways until one side ends."""
        with self._known(caller), suppress(OSError):
            there = ("127.0.0.1", self.target)
            with socket.create_connection(there, _CONNECT_SECONDS) as database:
                database.settimeout(None)
                back = Thread(target=self._pump, args=(database, caller), daemon=True)
                back.start()
                self._pump(caller, database)
                back.join()

    @contextmanager
    def _known(self, caller: socket.socket) -> Iterator[None]:
        with closing(caller):
            try:
                yield
            finally:
                with self._turn:
                    self._callers.remove(caller)

    def _pump(self, origin: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := origin.recv(_CHUNK):
                self._open.wait()
                target.sendall(data)
        for each in (origin, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _drop_all(each: socket.socket) -> None:
    """Have the kernel drop every packet for a socket; nobody is told, as on a bad network."""
    code = ctypes.create_string_buffer(_DROP_ALL)
    program = struct.pack("HP", 1, ctypes.addressof(code))
    each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

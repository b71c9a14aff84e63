"""One client that does its worst on 16 connections: `python -m bench.attacker`."""

import argparse
import json
import re
import secrets
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

ADDRESS = "127.0.0.3"
AT_ONCE = 16
"""Requests that are sent before the first answer is read."""
PATIENCE = 5.0
HELD = 10.0
"""Seconds for which a connection is held that reads nothing, or sends half a body."""
PAUSE = 0.01

_status = re.compile(rb"HTTP/1\.1 (\d{3})")
_LONG = len(b"HTTP/1.1 200")


@dataclass
class Attacker:
    """Sends to one place until the deadline; ``answers`` are counted by their kind and status."""

    port: int
    tls: bool
    deadline: float
    answers: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Have each of KINDS keep two connections busy."""
        threads = [
            threading.Thread(target=self._go_on, args=(name, kind))
            for name, kind in KINDS.items()
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _go_on(self, name: str, kind: "Kind") -> None:
        while time.monotonic() < self.deadline:
            # It is hung up on, and comes again.
            with suppress(OSError), self._connected() as connection:
                kind(self, name, connection)
            time.sleep(PAUSE)

    def _connected(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), PATIENCE, (ADDRESS, 0))
        return unverified().wrap_socket(made) if self.tls else made

    def exchange(self, name: str, connection: socket.socket, requests: list[bytes]) -> None:
        """Send requests at once, and read until as many answers have begun, or none comes."""
        connection.sendall(b"".join(requests))
        begun, rest = 0, b""
        while begun < len(requests):
            received = connection.recv(1 << 16)
            if not received:
                raise ConnectionResetError
            rest += received
            found = list(_status.finditer(rest))
            rest = rest[found[-1].end() if found else -_LONG :]
            self.answers.update(f"{name} {one[1].decode()}" for one in found)
            begun += len(found)


def unverified() -> ssl.SSLContext:
    """Return what connects to a server whose certificate was made a moment ago."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


Kind = Callable[[Attacker, str, socket.socket], None]


def _get(query: str, headers: str = "") -> bytes:
    return f"GET /token?{query} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


def _answered(make: Callable[[], bytes]) -> Kind:
    def kind(attacker: Attacker, name: str, connection: socket.socket) -> None:
        while time.monotonic() < attacker.deadline:
            attacker.exchange(name, connection, [make() for _ in range(AT_ONCE)])

    return kind


def _scopes() -> bytes:
    scopes = (f"scope=repository:{secrets.token_hex(100)}:pull,push" for _ in range(9))
    return _get("&".join(["service=registry", *scopes]))


def _slashes() -> bytes:
    return _get(f"service=registry&scope=repository:{'a/' * 6000}{secrets.token_hex(4)}:pull")


def _pulls() -> bytes:
    return _get(f"service=registry&scope=repository:public/{secrets.token_hex(8)}:pull")


def _name(length: int) -> bytes:
    shown = f"{secrets.token_hex(length // 2)}:{secrets.token_hex(8)}".encode()
    header = f"Authorization: Basic {b64encode(shown).decode()}\r\n"
    return _get("service=registry&scope=repository:a:pull", header)


def _puts() -> bytes:
    head = "Host: localhost\r\nExpect:\r\nContent-Length: 9000\r\n\r\n"
    path = secrets.choice(("/invitation", "/token", "/api/v1/me", f"/{secrets.token_hex(8)}"))
    return f"PUT {path} HTTP/1.1\r\n{head}".encode() + b"x" * 9000


def _half_bodies(attacker: Attacker, name: str, connection: socket.socket) -> None:
    head = "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n"
    connection.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode())
    connection.sendall(b"grant_type=" + b"x" * 1000)
    _hold(attacker, name)


def _unread(attacker: Attacker, name: str, connection: socket.socket) -> None:
    connection.settimeout(PATIENCE)
    with suppress(TimeoutError):
        while time.monotonic() < attacker.deadline:
            connection.sendall(_pulls() * AT_ONCE)
    _hold(attacker, name)


def _hold(attacker: Attacker, name: str) -> None:
    attacker.answers[f"{name} held"] += 1
    time.sleep(max(0.0, min(HELD, attacker.deadline - time.monotonic())))


KINDS: Mapping[str, Kind] = {
    "scopes": _answered(_scopes),
    "slashes": _answered(_slashes),
    "pulls": _answered(_pulls),
    "names": _answered(lambda: _name(100)),
    "long names": _answered(lambda: _name(8000)),
    "puts": _answered(_puts),
    "half bodies": _half_bodies,
    "unread": _unread,
}


def main() -> None:
    """Attack; print what came of it, and the processor seconds that it took."""
    parser = argparse.ArgumentParser(prog="python -m bench.attacker", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=int)
    parser.add_argument("--tls", action="store_true")
    chosen = parser.parse_args()
    attacker = Attacker(chosen.port, chosen.tls, time.monotonic() + chosen.seconds)
    attacker.run()
    print(json.dumps({"answers": attacker.answers, "processor": time.process_time()}))


if __name__ == "__main__":
    main()

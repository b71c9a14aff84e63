"""Run authserver beside a Granian whose private parts are not those that it knows."""

import sys
from typing import Any

from authserver.cli import main


def _change_granian() -> None:
    from granian.server.mp import MPServer  # noqa: PLC0415 - other commands start without it

    server: Any = MPServer
    spawn_workers = server._spawn_workers

    def spawn_otherwise(self: object, target: object, loader: object) -> None:
        spawn_workers(self, target, loader)

    server._spawn_workers = spawn_otherwise


if __name__ == "__main__":
    if "serve" in sys.argv:
        _change_granian()
    main()

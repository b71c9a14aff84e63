"""The admin API and the console, which are loaded when they are first asked for something."""

import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from authserver.web.app import Late


def application(name: bytes) -> Any:
    return lambda *_: [name]


def ask(late: Late, path: str) -> Iterable[bytes]:
    return late({"PATH_INFO": path}, lambda *_: print)


def test_it_is_made_once_and_when_it_is_asked() -> None:
    made: list[str] = []

    def make() -> Any:
        made.append("api")
        return application(b"api")

    late = Late("/api/v1", make, application(b"others"))
    assert ask(late, "/healthz") == ask(late, "/api/v1") == ask(late, "/api/v10/x") == [b"others"]
    assert made == []
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, late, "/api/v1/rules") for _ in range(32)]
        assert [one.result() for one in asked] == [[b"api"]] * 32
    assert made == ["api"]


@pytest.mark.parametrize(
    "module",
    [
        "authserver.web.api.models",
        "authserver.web.console.application",
        "authserver.registry.doctor.examination",
        "authserver.auth.second_factor",
        "pyotp",
        "webauthn",
    ],
)
def test_a_server_starts_without_it(module: str) -> None:
    asked = f"import sys, authserver.web.app; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0

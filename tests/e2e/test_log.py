"""Whoever reads the log stops reading, or has gone: tokens and refusals go on."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from typing import IO

import pytest

from tests.e2e.lab import ADMIN, installation
from tests.programs import START_SECONDS, STOP_SECONDS, Authserver, free_port, listening
from tests.world import basic, wait_until

pytestmark = pytest.mark.e2e

LINES = 2000
"""More than a pipe holds."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Authserver:
    return installation(tmp_path_factory.mktemp("log") / "data", free_port())


@contextmanager
def served(installed: Authserver, port: int) -> Iterator[tuple[HTTPConnection, IO[bytes]]]:
    """Serve with one worker; give a connection to it, and its log."""
    with ExitStack() as stack:
        server = stack.enter_context(
            subprocess.Popen(
                installed.serve_command(port, "--workers", "1"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=installed.environ,
            )
        )
        stack.callback(server.kill)
        assert server.stderr is not None
        assert wait_until(lambda: listening(port) == 1, START_SECONDS)
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            yield connection, server.stderr
        server.terminate()
        assert server.wait(STOP_SECONDS) == 0


def status(connection: HTTPConnection, query: str = "", **headers: str) -> int:
    connection.request("GET", f"/token?service=registry&{query}", headers=headers)
    response = connection.getresponse()
    response.read()
    return response.status


def test_nobody_waits_for_a_reader_who_has_stopped(installed: Authserver) -> None:
    with served(installed, free_port()) as (connection, log):
        # Of strangers' requests few leave a line.
        denied = {"query": "scope=x", "Authorization": basic(*ADMIN)}
        for _ in range(LINES):
            assert status(connection, **denied) == 200
        assert status(connection) == 200
        os.set_blocking(log.fileno(), False)
        assert 0 < (log.read() or b"").count(b"scope denied") < LINES
        assert status(connection, Authorization="Basic ???") == 401
        assert b"lines_lost=" in (log.read() or b"")


def test_a_reader_who_has_gone_takes_nothing_with_him(installed: Authserver) -> None:
    with served(installed, free_port()) as (connection, log):
        log.close()
        for _ in range(5):
            assert status(connection, Authorization="Basic ???") == 401
            assert status(connection) == 200

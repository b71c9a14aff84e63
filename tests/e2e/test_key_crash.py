"""Commands on keys that are killed at each of their steps leave a store that can be used."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from authserver.db.models import SigningKeyRow
from authserver.db.store import open_store
from authserver.keys.private_keys import Safe
from authserver.runtime.settings import Settings
from tests.cli.commands import Commands
from tests.e2e.fetching import ask_for_token
from tests.e2e.lab import ADMIN, installation
from tests.programs import Authserver, clean_environ, free_port

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
DYING = (sys.executable, "-m", "tests.e2e.dying")


def commands(authserver: Authserver) -> Commands:
    return Commands(authserver.data_dir, dict(authserver.env))


@pytest.mark.parametrize(
    ("command", "every"),
    [("key rewrap", 3), ("key authority activate", 9)],
)
def test_kill_9_at_any_step_leaves_a_store_that_can_be_used(
    tmp_path: Path, command: str, every: int
) -> None:
    """Not every step: by hand, EVERY is 1. To activate an authority is to rotate as well."""
    run = commands(installation(tmp_path / "data", free_port()))
    if command == "key authority activate":
        run("key", "authority", "rotate")
        run("key", "authority", "confirm", "registry")
    done = subprocess.run(
        [*DYING, str(tmp_path / "data"), str(every), *command.split()],
        cwd=ROOT,
        env=clean_environ(AUTHSERVER_BCRYPT_COST="4"),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    matched = re.search(r"\n(\d+) steps, unusable after \[\], ended with 0\n$", done.stdout)
    assert matched, done.stdout
    assert int(matched[1]) > 10


def test_a_server_changes_over_to_another_master_key(tmp_path: Path) -> None:
    port = free_port()
    authserver = installation(tmp_path / "data", port)
    run = commands(authserver)
    with authserver.serving(port, "--workers", "2"):
        for _ in range(3):
            run("key", "rewrap")
            run("key", "rotate")
            for _ in range(8):
                assert ask_for_token(f"http://127.0.0.1:{port}/token", auth=ADMIN).status == 200
    run("db", "check")


def test_a_retired_keys_private_half_is_in_no_file(tmp_path: Path) -> None:
    authserver = installation(tmp_path / "data", free_port())
    settings = Settings(data_dir=authserver.data_dir)
    sealed, plain = _first_key(settings)
    assert any(sealed in content for content in _files(authserver))
    commands(authserver)("key", "rotate")
    assert not any(sealed in content or plain in content for content in _files(authserver))


def _first_key(settings: Settings) -> tuple[bytes, bytes]:
    store = open_store(settings.store_url, lambda: datetime.now(UTC))
    with store.read() as session:
        row = session.scalars(select(SigningKeyRow)).one()
        pair = Safe.of(session, settings.master_key_path, None).open(row)
    store.engine.dispose()
    assert row.private_key is not None
    return row.private_key, pair.private_der()


def _files(authserver: Authserver) -> list[bytes]:
    return [path.read_bytes() for path in authserver.data_dir.iterdir() if path.is_file()]


def test_no_process_leaves_a_core_dump(tmp_path: Path) -> None:
    port = free_port()
    authserver = installation(tmp_path / "data", port)
    with authserver.serving(port, "--workers", "2") as server:
        workers = server.workers
        assert len(workers) == 2
        for pid in (server.inner.pid, *workers):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max core file size +0 +0 ", limits)

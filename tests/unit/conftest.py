"""Fixtures for unit tests: a store that was set up, without an application over it."""

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from authserver.audit.token_event import TokenEvent
from authserver.db.store import Store, open_store
from authserver.keys.master_key import MasterKey, read_master_key
from authserver.keys.private_keys import Safe
from authserver.runtime.settings import Settings
from tests import stores
from tests.unit.processes import Process
from tests.world import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(data_dir: Path, clock: Clock) -> Iterator[Store]:
    opened = stores.opened(data_dir, clock)
    yield replace(opened, time=lambda _: clock())
    opened.engine.dispose()


@pytest.fixture
def gone(tmp_path: Path, clock: Clock) -> Store:
    """A store that cannot be reached."""
    return open_store(f"sqlite:///{tmp_path}/gone/authserver.db", clock)


@pytest.fixture
def process(settings: Settings, clock: Clock) -> Iterator[Process]:
    started = Process(settings, clock)
    yield started
    started.store.engine.dispose()


@pytest.fixture
def other(settings: Settings, clock: Clock) -> Iterator[Process]:
    started = Process(settings, clock)
    yield started
    started.store.engine.dispose()


@pytest.fixture
def master(data_dir: Path) -> MasterKey:
    return read_master_key(data_dir / "master.key")


@pytest.fixture
def safe(master: MasterKey, data_dir: Path) -> Safe:
    return Safe(master, data_dir / "master.key", None)


@pytest.fixture
def one(clock: Clock) -> TokenEvent:
    """One token request that was granted."""
    known: dict[str, Any] = {"at": clock.at, "request_id": "r1", "outcome": "granted"}
    known |= {"account": "alice", "address": "192.0.2.1", "client": "docker/28", "jwt_id": "j1"}
    known |= {"service": "registry", "requested": "repository:a:pull", "requests": None}
    known |= {"credential": "password", "granted": "repository:a:pull"}
    return TokenEvent(**{field.name: "" for field in fields(TokenEvent)} | known)

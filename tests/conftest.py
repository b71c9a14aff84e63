"""Fixtures for all tests."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from authserver.settings import Settings
from tests.world import World, set_up

for name in [name for name in os.environ if name.startswith("AUTHSERVER_")]:
    del os.environ[name]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that was set up once; tests work on copies."""
    data_dir = tmp_path_factory.mktemp("template") / "data"
    data_dir.mkdir(mode=0o700)
    set_up(data_dir)
    return data_dir


@pytest.fixture
def data_dir(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "data"))


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    return Settings(data_dir=data_dir, bcrypt_cost=4)


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    made = World.over(settings)
    yield made
    made.close()

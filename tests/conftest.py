"""Fixtures for all tests."""

import gc
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from authserver.runtime import process
from authserver.runtime.settings import Settings
from tests import postgres, stores
from tests.postgres import Cluster
from tests.programs import Visible
from tests.stores import Engine
from tests.world import World, set_up

for name in [name for name in os.environ if name.startswith("AUTHSERVER_")]:
    del os.environ[name]

# No deadline: a slow machine is no failure. `make soak` draws more examples, and others each time.
hypothesis.settings.register_profile("tests", deadline=None, max_examples=100)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=800)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="What the stores are in. On PostgreSQL only tests that have a store are run.",
    )
    parser.addoption(
        "--hide", action="append", default=[], help="A program that counts as not installed."
    )
    parser.addoption(
        "--record-programs",
        type=Path,
        help="File to write each file of tests and each program that it requires to.",
    )


def pytest_configure(config: pytest.Config) -> None:
    Visible.hidden = frozenset(config.getoption("hide"))
    Visible.record = config.getoption("record_programs")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return half as many again as there are processors: many tests wait for servers."""
    return process.available_processors() * 3 // 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL leave out what has no store, or is about SQLite or about both engines."""
    if config.getoption("engine") == "sqlite":
        return
    left = [item for item in items if not _runs_on_postgresql(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if _runs_on_postgresql(item)]


def _runs_on_postgresql(item: pytest.Item) -> bool:
    has_store = "engine" in getattr(item, "fixturenames", ())
    return has_store and item.get_closest_marker("sqlite") is None


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL for tests that are about it, whatever the engine of the others is."""
    with postgres.cluster() as made:
        yield made


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """The name of a database with nothing in it."""
    name = f"test_{secrets.token_hex(8)}"
    cluster.create(name)
    yield name
    cluster.drop(name)


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the stores of this run are in."""
    if request.config.getoption("engine") == "sqlite":
        yield
        return
    with postgres.cluster() as Engine.cluster:
        yield
    Engine.cluster = None


@pytest.fixture(autouse=True)
def databases_dropped(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove the databases that a test made, after everything else of it has ended."""
    here = "tmp_path" in request.fixturenames
    directory = request.getfixturevalue("tmp_path") if here and Engine.cluster else None
    yield
    if directory is not None:
        stores.drop_below(directory)


@pytest.fixture(scope="session")
def template(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that was set up once; tests work on copies."""
    data_dir = tmp_path_factory.mktemp("template") / "data"
    data_dir.mkdir(mode=0o700)
    set_up(stores.settings(data_dir))
    return data_dir


@pytest.fixture
def data_dir(template: Path, tmp_path: Path) -> Path:
    return stores.copied(template, tmp_path / "data")


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    return stores.settings(data_dir)


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    made = World.over(settings)
    yield made
    made.close()

"""An installation that many tests ask and none changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import stores
from tests.world import World

UNLIMITED = 1_000_000


@contextmanager
def lasting(
    template: Path, tmp_path_factory: pytest.TempPathFactory, cost: int = 4
) -> Iterator[World]:
    """Give an installation whose state never gets too old to answer from."""
    data_dir = tmp_path_factory.mktemp("lasting") / "data"
    stores.copied(template, data_dir)
    settings = stores.settings(
        data_dir,
        bcrypt_cost=cost,
        failures_per_account=UNLIMITED,
        failures_per_address=UNLIMITED,
        requests_per_address=0,
    )
    world = World.over(settings)
    started = world.wiring.state.monotonic()
    world.wiring.state.monotonic = lambda: started
    yield world
    world.close()

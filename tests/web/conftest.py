"""Fixtures for the application."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.lasting import lasting
from tests.world import World


@pytest.fixture(scope="session")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One installation for all tests that only ask.

    alice may push to team/** and delete from trash/*; anybody may pull public/*; gone is disabled.
    """
    with lasting(template, tmp_path_factory) as world:
        populate(world)
        yield world


@pytest.fixture
def populated(world: World) -> World:
    """The same, for one test that changes it."""
    populate(world)
    return world


def populate(world: World) -> None:
    world.user("alice")
    world.user("gone")
    world.disable("gone")
    world.allow("user:alice", "team/**", "pull,push")
    world.allow("user:alice", "trash/*", "pull,delete")
    world.allow("anonymous", "public/*", "pull")

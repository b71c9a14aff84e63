"""Fixtures for the command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import stores
from tests.cli.commands import Commands
from tests.world import PASSWORD


@pytest.fixture
def run(data_dir: Path) -> Commands:
    """The commands of an installation that was set up."""
    return Commands(data_dir)


@pytest.fixture
def bare(engine: None, tmp_path: Path) -> Commands:
    """The commands where nothing is set up yet."""
    return Commands(tmp_path / "new" / "data")


@pytest.fixture(scope="session")
def standing(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """One installation for all tests that only ask, or whose changes are refused.

    alice is in the group dev and may pull a.
    """
    run = Commands(tmp_path_factory.mktemp("standing") / "data")
    stores.copied(template, run.data_dir)
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    run("group", "add", "dev")
    run("group", "add-member", "dev", "alice")
    run("acl", "allow", "user:alice", "a", "pull")
    before = run("audit", "list", "--json")
    yield run
    assert run("audit", "list", "--json") == before, "a change was not refused"

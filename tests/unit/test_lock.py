"""The locked versions that a server runs on, beside the ranges of `pyproject.toml`."""

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [each for extra in PROJECT["optional-dependencies"].values() for each in extra]


class Pin(NamedTuple):
    version: str
    hashes: tuple[str, ...]


def locked(file: str) -> dict[str, set[Pin]]:
    """Return the pins of each package; several where they are for different platforms."""
    pins: dict[str, set[Pin]] = {}
    entries = re.sub(r"(?m)^ *#.*\n", "", (ROOT / file).read_text()).replace("\\\n", "")
    for entry in entries.splitlines():
        pin, *options = re.split(r"\s+--hash=", entry)
        requirement = Requirement(pin)
        [specifier] = requirement.specifier
        assert specifier.operator == "=="
        pins.setdefault(canonicalize_name(requirement.name), set()).add(
            Pin(specifier.version, tuple(option.strip() for option in options))
        )
    return pins


@pytest.mark.parametrize(
    ("file", "dependencies"),
    [
        ("requirements.txt", PROJECT["dependencies"]),
        ("requirements-extras.txt", PROJECT["dependencies"] + EXTRAS),
    ],
)
def test_each_dependency_is_locked_within_its_range(file: str, dependencies: list[str]) -> None:
    pins = locked(file)
    for requirement in map(Requirement, dependencies):
        versions = pins[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(pin.version) for pin in versions), requirement


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-extras.txt"])
def test_each_locked_version_has_its_hashes_and_no_address(file: str) -> None:
    for name, pins in locked(file).items():
        assert all(pin.hashes for pin in pins), name
        assert all(hash_.startswith("sha256:") for pin in pins for hash_ in pin.hashes), name
    assert "://" not in (ROOT / file).read_text()


def test_a_server_has_the_same_versions_with_extras_and_without() -> None:
    with_extras = locked("requirements-extras.txt")
    assert locked("requirements.txt").items() <= with_extras.items()

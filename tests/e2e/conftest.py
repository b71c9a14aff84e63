"""An installation and a registry for the end-to-end tests."""

import dataclasses
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests import programs
from tests.e2e.images import Image
from tests.e2e.lab import (
    KNOWN_GRANIAN,
    OTHER_GRANIAN,
    PASSWORD,
    Lab,
    installation,
    serving_registry,
)

# Who is there, and the rules that each of them has; anonymous is no account.
RULES = {
    "user:pusher": [("team/**", "pull,push"), ("mirror/**", "pull,push")],
    "user:reader": [("team/**", "pull")],
    "user:cleaner": [("team/**", "pull,delete")],
    "user:mounter": [("mounts/**", "pull,push")],
    "user:hosted": [("Example.com/**", "pull,push"), ("localhost:5000/**", "pull,push")],
    "user:stranger": [],
    "anonymous": [("public/**", "pull")],
}


# The programs that fixtures required, by the fixture and where it is defined.
_required: dict[tuple[str, str], set[str]] = {}


@pytest.fixture(scope="session", autouse=True)
def only_required_programs() -> Iterator[None]:
    """Have PATH lead to all programs of this machine but those that a test has not required."""
    # Not under pytest's directories: some programs run as another user, who may not enter them.
    with TemporaryDirectory() as name:
        others, required = Path(name) / "others", Path(name) / "required"
        for directory in (Path(name), others, required):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o755)
        for directory in map(Path, programs.PATH.split(os.pathsep)):
            for program in directory.glob("*"):
                if program.name not in programs.PROGRAMS | programs.RECORDED:
                    with suppress(FileExistsError):
                        (others / program.name).symlink_to(program)
        before, os.environ["PATH"] = os.environ["PATH"], f"{required}{os.pathsep}{others}"
        programs.Visible.directory = required
        yield
        programs.Visible.directory, os.environ["PATH"] = None, before


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any],
) -> Generator[None, object, object]:
    before = set(programs.Visible.required)
    programs.Visible.required.clear()
    try:
        return (yield)
    finally:
        _required[fixturedef.argname, fixturedef.baseid] = set(programs.Visible.required)
        programs.Visible.required.update(before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let the test see what its fixtures required that are there already."""
    programs.hide_all()
    names = getattr(item, "fixturenames", ())
    for (fixture, place), required in _required.items():
        if fixture in names and item.nodeid.startswith(place):
            programs.show(required)


@pytest.fixture(
    scope="module",
    params=[KNOWN_GRANIAN, OTHER_GRANIAN],
    ids=["known Granian", "other Granian"],
)
def program(request: pytest.FixtureRequest) -> Sequence[str]:
    """What is run as authserver: it serves with Granian's private parts, or without."""
    found: Sequence[str] = request.param
    return found


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab, set up by the command line before it is served."""
    programs.require("docker-registry")
    place = tmp_path_factory.mktemp("lab")
    port = programs.free_port()
    authserver = installation(place / "data", port)
    users = [subject.removeprefix("user:") for subject in RULES if subject != "anonymous"]
    added = (("user", "add", user, "--password-stdin") for user in users)
    authserver.run_each(*added, stdin=f"{PASSWORD}\n")
    rules = [(subject, *rule) for subject, listed in RULES.items() for rule in listed]
    authserver.run_each(
        *(("acl", "allow", subject, pattern, actions) for subject, pattern, actions in rules),
        ("registry", "add", "other"),
    )
    printed = authserver.run("registry", "config", "registry", "--output-dir", str(place / "trust"))
    with (
        authserver.serving(port, "--workers", "2") as server,
        serving_registry(place, printed.stdout) as registry,
    ):
        assert registry.ask("/v2/").status == 401
        yield Lab(authserver, server, f"http://localhost:{port}/token", registry, place)


@pytest.fixture
def lab(served: Lab, tmp_path: Path) -> Lab:
    """The lab as a new client sees it, logged in nowhere."""
    home = tmp_path / "home"
    home.mkdir()
    return dataclasses.replace(served, home=home)


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path / "image")

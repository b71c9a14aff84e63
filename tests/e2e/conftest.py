"""An installation and a registry for the end-to-end tests."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

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

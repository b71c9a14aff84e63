"""Moving over from a real htpasswd file: people log in with what they had, and push."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import programs
from tests.e2e.images import Image
from tests.e2e.lab import Lab, installation, serving_registry

pytestmark = pytest.mark.e2e

USERS = 200
# Debian's htpasswd by flag: bcrypt of two costs, apr1 MD5, SHA-1, DES crypt, SHA-512.
FORMATS = {"-B": True, "-m": False, "-BC6": True, "-s": False, "-d": False}
PUSHING = 10


def password(number: int) -> str:
    return f"old-{number}"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 users, five formats mixed."""
    programs.require("htpasswd")
    lines = []
    for number in range(USERS):
        flag = list(FORMATS)[number % len(FORMATS)]
        flags = ["-nbB", "-C", "6"] if flag == "-BC6" else [f"-nb{flag[1:]}"]
        made = subprocess.run(
            ["htpasswd", *flags, f"user{number}", password(number)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines.append(made.stdout.strip())
    path = tmp_path_factory.mktemp("htpasswd") / "htpasswd"
    path.write_text("\n".join(lines) + "\n")
    return path


def taken() -> list[int]:
    return [n for n in range(USERS) if list(FORMATS.values())[n % len(FORMATS)]]


@pytest.fixture(scope="module")
def moved(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    programs.require("docker-registry", "skopeo")
    place = tmp_path_factory.mktemp("moved")
    port = programs.free_port()
    authserver = installation(place / "data", port)
    authserver.env["AUTHSERVER_BCRYPT_COST"] = "7"
    said = authserver.run("import", "htpasswd", str(file), "--allow", "**", "all", "--partial")
    assert (
        f"{len(taken())} imported, 0 there already, {USERS - len(taken())} not taken" in said.stdout
    )
    section = authserver.run("registry", "config", "registry", "--output-dir", str(place / "trust"))
    with (
        authserver.serving(port, "--workers", "2") as server,
        serving_registry(place, section.stdout) as registry,
    ):
        yield Lab(authserver, server, f"http://localhost:{port}/token", registry, place)


def test_each_line_that_cannot_be_taken_is_named(file: Path, moved: Lab) -> None:
    said = moved.authserver.run("import", "htpasswd", str(file), "--dry-run", "--partial").stderr
    for number in set(range(USERS)) - set(taken()):
        assert f"line {number + 1}: user{number}: would not be taken: hashed with" in said


def test_ten_of_them_log_in_and_push(moved: Lab, tmp_path: Path) -> None:
    for number in taken()[:PUSHING]:
        who = (f"user{number}", password(number))
        moved.push(Image(tmp_path / f"image{number}"), f"team/app{number}:1", who)


def test_their_passwords_are_hashed_anew_at_first_login(moved: Lab) -> None:
    number = taken()[PUSHING]
    name = f"user{number}"
    moved.token(who=(name, password(number)))
    listed = moved.authserver.run("audit", "list", "--kind", "change", "--account", name, "--json")
    assert '"user.rehash"' in listed.stdout
    moved.token(who=(name, password(number)))


def test_a_wrong_password_is_still_wrong(moved: Lab, tmp_path: Path) -> None:
    number = taken()[0]
    image = Image(tmp_path / "image")
    done = moved.copy(str(image), moved.image("team/no:1"), write_as=(f"user{number}", "wrong"))
    assert done.returncode != 0
    assert "invalid username/password" in done.stderr or "unauthorized" in done.stderr

"""A command loads what it uses, and no more: libraries are most of its time."""

import subprocess
import sys
from pathlib import Path

import pytest

from authserver.cli import COMMANDS
from tests import stores
from tests.programs import require

# What --help and completion do without, as modules that are loaded in truth.
LIBRARIES = (
    "alembic",
    "bcrypt",
    "cryptography",
    "flask",
    "jwt",
    "pydantic",
    "sqlalchemy",
    "structlog",
)

# Walks the commands below one, and prints the libraries that their help loads.
HELP = f"""
import sys
from types import ModuleType
import click
from click.testing import CliRunner
from authserver.cli import cli

def helped(command, words):
    done = CliRunner().invoke(cli, [*words, "--help"])
    assert done.exit_code == 0, done.output
    for name, sub in getattr(command, "commands", {{}}).items():
        helped(sub, [*words, name])

helped(cli.get_command(click.Context(cli), sys.argv[1]), sys.argv[1:])
print([name for name in {LIBRARIES} if type(sys.modules.get(name)) is ModuleType])
"""


def printed(program: str, *arguments: str, **environ: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_no_library(command: str) -> None:
    assert printed(HELP, command).strip() == "[]"


def test_the_completion_of_a_command_loads_no_library() -> None:
    program = f"""
import sys
from types import ModuleType
from authserver.cli import cli
try:
    cli(prog_name="authserver")
except SystemExit:
    print([name for name in {LIBRARIES} if type(sys.modules.get(name)) is ModuleType])
"""
    asked = {
        "_AUTHSERVER_COMPLETE": "bash_complete",
        "COMP_WORDS": "authserver user en",
        "COMP_CWORD": "2",
    }
    said = printed(program, **asked).splitlines()
    assert "plain,enable" in said
    assert said[-1] == "[]"


def test_a_list_does_without_cryptography(data_dir: Path) -> None:
    program = """
import sys
from authserver.cli import cli
try:
    cli(["user", "list"], prog_name="authserver")
except SystemExit as end:
    print(end.code, [name for name in ("alembic", "cryptography", "jwt") if name in sys.modules])
"""
    assert printed(program, **stores.environ(data_dir)).splitlines()[-1] == "0 []"


def test_a_server_has_loaded_everything_before_its_threads() -> None:
    program = """
import sys
from importlib.util import _LazyModule
import click
from authserver.cli import cli, lazy_modules
cli.get_command(click.Context(cli), "serve")
late = lambda: [name for name, it in sys.modules.items() if type(it) is _LazyModule]
print(bool(late()))
lazy_modules.load_all()
print(late())
"""
    assert printed(program).split() == ["True", "[]"]


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_without_standard_error_what_was_done_is_no_failure(data_dir: Path, closed: str) -> None:
    require("bash")
    program = f'exec "{sys.executable}" -m authserver acl allow everyone "a/**" pull {closed}'
    done = subprocess.run(
        ["bash", "-c", program], env=stores.environ(data_dir), check=False, stdout=subprocess.PIPE
    )
    assert done.returncode == 0

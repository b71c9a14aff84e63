"""What commands read: files, and the passphrase of a backup."""

import sys
from pathlib import Path

import click

from authserver.core.errors import Refused
from authserver.db.backup import archive

passphrase_option = click.option(
    "--passphrase-file",
    "secret",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Read the passphrase from the first line of FILE; otherwise it is asked for.",
)

STDIN = Path("-")


def passphrase(secret: Path | None, *, new: bool) -> str:
    """Return the first line of a file, or what is answered at the terminal, for a new one twice.

    Raises:
        Refused: the file cannot be read or is no text, or a new passphrase is too short.
        click.UsageError: there is neither a file nor a terminal.
    """
    secret_text = _ask(new=new) if secret is None else _first_line(secret)
    if new and len(secret_text) < archive.MIN_PASSPHRASE:
        raise Refused(f"a passphrase has at least {archive.MIN_PASSPHRASE} characters")
    return secret_text


def _ask(*, new: bool) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask for the passphrase: --passphrase-file")
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True))


def _first_line(secret: Path) -> str:
    try:
        return read_input(secret).decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise Refused(f"the passphrase in {secret} is not UTF-8 text") from None


def read_input(file: Path) -> bytes:
    """Return a file's content, or standard input's for ``-``.

    Raises:
        Refused: it cannot be read.
    """
    try:
        return sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    except OSError as error:
        raise Refused(f"the file {file} cannot be read: {error.strerror}") from None


def write_output(file: Path, content: str) -> None:
    """Write a file.

    Raises:
        Refused: it cannot be written.
    """
    try:
        file.write_text(content, encoding="utf-8")
    except OSError as error:
        raise Refused(f"the file {file} cannot be written: {error.strerror}") from None

"""Commands in messages: every one is built here, so that an operator can paste it into a shell.

Names may have spaces, quotes and dollar signs, and may begin with a dash. The command line sets how
it is called from where the operator stands; elsewhere a command begins with the plain name.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_program: ContextVar[str] = ContextVar("program", default="authserver")


def shell_command(*words: object, operand: str | None = None) -> str:
    """Return a command of this program, quoted for the shell.

    Placeholders are in capitals. ``operand`` stands before the options, or behind a ``--`` if it
    would be read as an option.
    """
    line = [*map(str, words)]
    if operand is not None and operand.startswith("-"):
        line += ["--", operand]
    elif operand is not None:
        options = (at for at, word in enumerate(line) if word.startswith("--"))
        line.insert(next(options, len(line)), operand)
    return f"{program()} {shlex.join(line)}"


def operands(*words: str) -> list[str]:
    """Return words of which the first may begin with a dash, as they stand in a command."""
    return ["--", *words] if words[0].startswith("-") else [*words]


def program() -> str:
    """Return how this program is called, quoted for the shell."""
    return _program.get()


@contextmanager
def called_as(text: str) -> Iterator[None]:
    """Have the commands of this thread begin with ``text``, which is quoted already."""
    token = _program.set(text)
    try:
        yield
    finally:
        _program.reset(token)

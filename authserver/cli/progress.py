"""A progress bar, where a person waits."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

STEPS = 200
"""How often it is drawn at most: whoever tells of each line must not wait for the terminal."""


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function to be told how many of how many are done; it draws only on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def tell(done: int, total: int) -> None:
            bar.length = total
            if done == total or (done - bar.pos) * STEPS >= total:
                bar.update(done - bar.pos)

        yield tell

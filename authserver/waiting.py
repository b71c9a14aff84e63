"""Saying that one is about to wait, to whoever has given the work to this thread."""

import threading
from collections.abc import Callable


class _Told(threading.local):
    by: Callable[[], object] | None = None


_told = _Told()


def before_waiting() -> None:
    """Say that what follows may take a while without keeping the processor busy.

    Nothing happens in a thread for which :func:`listen` was not called.
    """
    if _told.by is not None:
        _told.by()


def listen(heard: Callable[[], object]) -> None:
    """Have ``heard`` be called each time this thread is about to wait."""
    _told.by = heard

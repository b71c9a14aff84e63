"""The data directory: making it, and one process at a time that sets a store up."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from authserver.cli.context import Context, require_owner
from authserver.core.errors import Refused
from authserver.db import schema


def make_data_dir(data_dir: Path) -> None:
    """Make the directory of an embedded store and the master key, for its owner only.

    Raises:
        Refused: it cannot be made, or belongs to another user.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"the data directory {data_dir}: {error.strerror}") from None
    require_owner(data_dir)


@contextmanager
def alone(context: Context) -> Iterator[None]:
    """Let one process at a time set up or upgrade the store, wherever the others run.

    Raises:
        Refused: the data directory of an embedded store is not there or not writable.
        NotReady: the store cannot be reached, or another process took too long.
    """
    if context.store.file is None:
        with schema.alone(context.store.engine):
            yield
    else:
        with _alone_in(context.settings.data_dir):
            yield


@contextmanager
def _alone_in(data_dir: Path) -> Iterator[None]:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(data_dir / ".init.lock", flags, 0o600)
    except OSError as error:
        raise Refused(f"the data directory {data_dir}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

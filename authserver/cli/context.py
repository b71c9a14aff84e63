"""What every command works with: the settings and the store, opened when first needed."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from authserver.audit import log_writer, recorder
from authserver.cli import new_store
from authserver.cli.output import called_by, note
from authserver.core.commands import program
from authserver.core.errors import Refused
from authserver.db import schema
from authserver.db import store as db_store
from authserver.keys import private_keys
from authserver.runtime import settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from authserver.db.store import Change, Store
    from authserver.runtime.settings import Loaded, Settings


def now() -> datetime:
    return datetime.now(UTC)


class _TakenBack(Exception):
    """Ends a change that is not to be."""


@dataclass
class Context:
    """The installation that the command line was pointed at."""

    @cached_property
    def loaded(self) -> Loaded:
        loaded = settings.load(os.environ)
        for warning in loaded.warnings:
            note(f"Warning: {warning}")
        return loaded

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @cached_property
    def store(self) -> Store:
        """Return the store, whatever state it is in."""
        settings_ = self.settings
        # Of a command there are few lines, and nobody who could write them later.
        trail = recorder.trail_of(
            settings_.master_key_path,
            settings_.audit_log,
            settings_.audit_log_ca_file,
            settings_.audit_log_size << 20,
        )
        return replace(self._unrecorded, trail=trail)

    @cached_property
    def _unrecorded(self) -> Store:
        """The store to read from: what writes records takes long to load."""
        require_owner(self.settings.data_dir)
        store = db_store.open_store(self.settings.store_url, now, self.settings.pool)
        # main() ends without Python's own end, and SQLite puts its files in order when it closes.
        click.get_current_context().find_root().call_on_close(store.engine.dispose)
        return store

    @property
    def actor(self) -> str:
        """Return who this is in audit records: the operating system's user, not what it claims."""
        try:
            return f"cli:{pwd.getpwuid(os.geteuid()).pw_name}"
        except KeyError:
            return f"cli:uid-{os.geteuid()}"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session on a store that is set up and at head."""
        self.require_database()
        with self._unrecorded.read() as session:
            schema.require_head(session.connection())
            schema.require_initialised(session)
            yield session

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Give a change of a store that is set up and at head."""
        with self.read():
            pass
        with self.store.change(self.actor) as change:
            yield change
            # This process ends soon, and no other may be running to seal what it did.
            trouble = change.seal()
        if trouble:
            note(f"Warning: audit records were altered, {trouble}: {program()} audit verify")
        self.copy_records()

    def rehearse(self, act: Callable[[Change], object]) -> None:
        """Make a change and take it back, so that a refusal comes before any question."""
        with suppress(_TakenBack), self.store.change(self.actor) as change:
            act(change)
            raise _TakenBack

    def copy_records(self) -> None:
        """Write the second copy of what was recorded; say so if that cannot be done."""
        if trouble := log_writer.SecondCopy(recorder.Trail.of(self.store).outbox).finish():
            note(f"Warning: the audit log lacks this change: {trouble}")

    def upgrade(self) -> tuple[str | None, str | None]:
        """Bring the store to head; return the revisions before and after."""
        revisions = new_store.upgrade(self.store, self.actor)
        self.copy_records()
        return revisions

    def safe_of(self, session: Session) -> private_keys.Safe:
        """Return what opens the private keys of the store."""
        return private_keys.Safe.of(
            session, self.settings.master_key_path, self.settings.private_key_dir
        )

    def require_database(self) -> None:
        path = self._unrecorded.file
        if path is not None and not path.exists():
            raise Refused(
                f"there is no store at {path}: run `{program()} init`, "
                "or name the right directory with AUTHSERVER_DATA_DIR or --data-dir"
            )


pass_context = click.make_pass_decorator(Context, ensure=True)


def require_owner(data_dir: Path) -> None:
    """Check that this user owns the data directory.

    Raises:
        Refused: another one does, so that the server could not read what is written now; or
            everybody may write there.
    """
    if not data_dir.exists():
        return
    status = data_dir.stat()
    if status.st_mode & stat.S_IWOTH:
        raise Refused(
            f"everybody may write into the data directory {data_dir}: "
            f"chmod 700 {quote(str(data_dir.absolute()))}"
        )
    owner = status.st_uid
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise Refused(
        f"the data directory {data_dir} belongs to {name}, and files written by another user "
        f"could not be read by the server. As that user: {called_by(name, status.st_gid)}"
    )

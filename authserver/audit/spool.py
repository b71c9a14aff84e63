"""The spool: records of token requests on the local disk, for the time when the store takes none.

Each process has a file of its own, one JSON object a line, and a lock on it that ends with the
process. What a process leaves there when it ends is taken over by one that starts. A thread of its
own writes to the spool, since the thread that writes to the store may hang with it.
"""

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from threading import Lock

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from authserver.audit.journal import Journal, insert_events
from authserver.audit.token_event import TokenEvent
from authserver.core.errors import NotReady
from authserver.db.models import TokenRecord
from authserver.db.store import Store
from authserver.runtime.periodic import PeriodicThread

SUFFIX = ".jsonl"
DAMAGED = ".damaged"
READ_BYTES = 1 << 20
"""So much is read at a time; no line is as long."""

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC

log = structlog.get_logger()

INTERVAL = 0.4


@dataclass
class SpoolFile:
    """A file and how far it was read. ``bad`` counts lines that could not be understood.

    Every method raises OSError where the disk fails.
    """

    path: Path
    descriptor: int
    size: int = 0
    offset: int = 0
    bad: int = 0

    def append(self, data: bytes) -> None:
        """Write whole lines, to the disk; all of them or none."""
        try:
            done = 0
            while done < len(data):
                done += os.pwrite(self.descriptor, data[done:], self.size + done)
            os.fsync(self.descriptor)
        except OSError:
            os.ftruncate(self.descriptor, self.size)
            raise
        self.size += len(data)

    def read(self) -> tuple[list[bytes], int]:
        """Return the next lines, and the offset at which they end."""
        raw = os.pread(self.descriptor, READ_BYTES, self.offset)
        whole, newline, _ = raw.rpartition(b"\n")
        if not newline:
            # A process was killed while it wrote the last line.
            return [raw], self.size
        return whole.split(b"\n"), self.offset + len(whole) + 1

    def close(self) -> None:
        """Close the file and remove it; keep one with bad lines under another name."""
        if self.bad:
            self.path.rename(self.path.with_suffix(DAMAGED))
        else:
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def create_file(directory: Path) -> SpoolFile:
    """Make a file for this process."""
    path = directory / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
    descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return SpoolFile(path, descriptor)


def left_behind(directory: Path) -> Iterator[SpoolFile]:
    """Take over the files of processes that have ended; what another user put there is not ours."""
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        # Another process may be done with it by now.
        with suppress(FileNotFoundError):
            if (file := _taken(path)) is not None:
                yield file


def _taken(path: Path) -> SpoolFile | None:
    status = path.lstat()
    if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
        return None
    descriptor = os.open(path, _FLAGS)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return SpoolFile(path, descriptor, os.fstat(descriptor).st_size)


@dataclass
class Spool:
    """Keeps token events, ``max_bytes`` of them at most, and writes them back to the store."""

    directory: Path
    max_bytes: int
    _own: SpoolFile | None = None
    _left: list[SpoolFile] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def open(self) -> None:
        """Make the directory.

        Raises:
            NotReady: it cannot be used.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.directory.stat().st_mode & stat.S_IWOTH:
                chmod = f"chmod 700 {quote(str(self.directory.absolute()))}"
                raise NotReady(f"everybody may write into the spool {self.directory}: {chmod}")
        except OSError as error:
            raise self._unusable(error) from None

    def take_over(self) -> None:
        """Take over what processes that ended have left there, to write it back.

        Nobody else can while this process lives: it is for one that writes back until it ends.

        Raises:
            NotReady: the directory cannot be used.
        """
        try:
            with self._lock:
                self._left += left_behind(self.directory)
        except OSError as error:
            raise self._unusable(error) from None

    @property
    def waiting(self) -> int:
        """Return how many bytes wait to be written back."""
        with self._lock:
            return sum(file.size - file.offset for file in self._files)

    @property
    def _files(self) -> list[SpoolFile]:
        return [*self._left, *([self._own] if self._own else [])]

    def keep(self, events: Sequence[TokenEvent]) -> None:
        """Write events to the disk; all of them or none.

        Raises:
            NotReady: the spool is full, or the disk fails.
        """
        data = b"".join(map(_line, events))
        with self._lock:
            if len(data) + (self._own.size if self._own else 0) > self.max_bytes:
                raise NotReady(f"the spool in {self.directory} is full: see AUTHSERVER_SPOOL_SIZE")
            try:
                self._file().append(data)
            except OSError as error:
                raise self._unusable(error) from None

    def _file(self) -> SpoolFile:
        if self._own is None:
            self._own = create_file(self.directory)
            log.warning("records of token requests go to the spool", file=str(self._own.path))
        return self._own

    def write(self, store: Store) -> None:
        """Store the oldest of what is kept; a part at a time, for other work waits meanwhile.

        Raises:
            NotReady: the store does not take it, or the disk fails; it is kept.
        """
        with self._lock:
            file = next(iter(self._files), None)
            if file is None:
                return
            try:
                lines, end = file.read()
            except OSError as error:
                raise self._unusable(error) from None
        # Not under the lock: what comes in must not wait for the store.
        file.bad += _store(lines, store)
        with self._lock:
            file.offset = end
            if end >= file.size:
                self._finish(file)

    def _finish(self, file: SpoolFile) -> None:
        if file is self._own:
            self._own = None
        else:
            self._left.remove(file)
        try:
            file.close()
        except OSError as error:
            raise self._unusable(error) from None
        if file.bad:
            log.error(
                "records in the spool cannot be read; the file is kept",
                number=file.bad,
                file=str(file.path.with_suffix(DAMAGED)),
            )
        log.info("records were written back from the spool", file=str(file.path))

    def _unusable(self, error: OSError) -> NotReady:
        return NotReady(
            f"the spool in {self.directory} cannot be used: {error.strerror}; "
            "see AUTHSERVER_SPOOL_DIR"
        )


def _store(lines: list[bytes], store: Store) -> int:
    """Store what lines say; return how many of them say nothing that can be stored."""
    events = [event for event in map(_event, lines) if event is not None]
    try:
        with store.append() as session:
            if missing := _missing(session, events):
                insert_events(store, session, missing)
    except SQLAlchemyError as error:  # a file that was altered holds nothing up
        log.error("records in the spool cannot be stored", error=type(error).__name__)
        return len(lines)
    return len(lines) - len(events)


def _missing(session: Session, events: list[TokenEvent]) -> list[TokenEvent]:
    """Leave out what is stored: a process may have ended, or lost the store, just after that."""
    times = [event.at for event in events]
    if not times:
        return []
    query = select(TokenRecord.request_id, TokenRecord.at).where(
        TokenRecord.at.between(min(times), max(times)),
        TokenRecord.request_id.in_({event.request_id for event in events}),
    )
    stored = {(request_id, at) for request_id, at in session.execute(query)}
    return [event for event in events if (event.request_id, event.at) not in stored]


def _line(event: TokenEvent) -> bytes:
    return json.dumps(asdict(event), default=datetime.isoformat).encode() + b"\n"


def _event(line: bytes) -> TokenEvent | None:
    """Read a line; None if it was cut off or altered."""
    try:
        fields = json.loads(line)
        requests = fields.pop("requests", None)
        texts = fields | {"jwt_id": fields["jwt_id"] or ""}
        at = datetime.fromisoformat(fields["at"]).astimezone(UTC)
        event = TokenEvent(**fields | {"at": at}, requests=requests and int(requests))
    except (ValueError, TypeError, KeyError):
        return None
    return event if all(isinstance(text, str) for text in texts.values()) else None


@dataclass
class Spooler:
    """Moves what is pending from the journal to the spool while the store is ``late``."""

    journal: Journal
    spool: Spool
    late: Callable[[], bool]
    _thread: PeriodicThread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = PeriodicThread("spooler", INTERVAL, self.tick)

    def tick(self) -> None:
        """Move what is pending if the store has not taken it for too long."""
        if self.late():
            self._move()

    def _move(self) -> None:
        events = self.journal.take()
        if not events:
            return
        try:
            self.spool.keep(events)
        except Exception as error:  # noqa: BLE001 - whatever it is, no record may be lost
            self.journal.put_back(events)
            if not self.journal.stuck:
                log.error("no tokens: their records can be kept nowhere", error=str(error))
            self.journal.stuck = True
        else:
            self.journal.stuck = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and move what the store has not taken by now."""
        self._thread.stop()
        self._move()

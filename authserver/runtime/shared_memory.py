"""Memory and locks that the worker processes of one server share.

The memory is in no file system, and a lock ends with the process that holds it. The first process
puts the path in its environment, which its workers inherit however they are started.
"""

import fcntl
import mmap
import os
import secrets
import struct
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock

import structlog

# Not one of the settings' names: nobody sets it.
ENVIRON = "_AUTHSERVER_SHARED"
BYTES = 4 * 1024 * 1024
LOCKS = 1024

# struct flock: type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi")

log = structlog.get_logger()


class SharedMemory:
    """:attr:`memory`, zeros at first, and LOCKS numbered locks."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.memory = mmap.mmap(descriptor, BYTES)
        self._in_process = tuple(Lock() for _ in range(LOCKS))
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def make(cls) -> "SharedMemory":
        """Make memory that the processes forked from this one share by its :attr:`path`."""
        descriptor = os.memfd_create("authserver")
        os.ftruncate(descriptor, BYTES)
        return cls(descriptor)

    @classmethod
    def join(cls) -> "SharedMemory":
        """Return the memory of the server that this process works for, or new memory."""
        path = os.environ.get(ENVIRON)
        if path is None:
            return cls.make()
        try:
            return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            log.warning(
                "workers cannot share memory: each counts failed logins, and checks passwords, "
                "for itself",
                error=str(error),
            )
            return cls.make()

    @property
    def path(self) -> str:
        """Return the path by which this process and its forks open this memory anew.

        Other users cannot: /proc closes the descriptors of a process that leaves no core dump.
        """
        return f"/proc/self/fd/{self._descriptor}"

    @contextmanager
    def alone(self, number: int) -> Iterator[None]:
        """Hold a lock: against the threads of this process, then against the other processes."""
        with self._in_process[number]:
            self._set(fcntl.F_WRLCK, number)
            try:
                yield
            finally:
                self._set(fcntl.F_UNLCK, number)

    @contextmanager
    def one_of(self, numbers: Sequence[int]) -> Iterator[None]:
        """Hold one of several locks: a free one if there is one, else any."""
        with ExitStack() as held:
            for number in numbers:
                if self._take(number):
                    held.callback(self._leave, number)
                    break
            else:
                held.enter_context(self.alone(secrets.choice(numbers)))
            yield

    def _take(self, number: int) -> bool:
        """Take a lock if it is free."""
        if not self._in_process[number].acquire(blocking=False):
            return False
        try:
            self._set(fcntl.F_WRLCK, number, fcntl.F_OFD_SETLK)
        except BlockingIOError:
            self._in_process[number].release()
            return False
        return True

    def _leave(self, number: int) -> None:
        self._set(fcntl.F_UNLCK, number)
        self._in_process[number].release()

    def _set(self, kind: int, number: int, how: int = fcntl.F_OFD_SETLKW) -> None:
        # Locks of the open file, not of the process: the kernel takes no two threads for one.
        fcntl.fcntl(self._descriptor, how, _FLOCK.pack(kind, 0, number, 1, 0))

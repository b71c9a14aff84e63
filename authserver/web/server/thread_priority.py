"""How the threads of a worker are scheduled: on the processors, and in the interpreter."""

import os
import sys
from contextlib import suppress

from authserver.runtime import process

NICE = 12
"""The nice value of all threads but those that hash passwords.

The kernel gives each thread that has work the same part, and those that answer are never without
work under load: a bcrypt would have a third of two processors, not half of them. At twelve a thread
gets a fifteenth of what one that hashes gets, where they meet.
"""

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter from another that wants it."""


def give_way() -> None:
    """Have this thread and those that it makes interrupt each other less, and hashing not at all.

    Otherwise the one that reads and writes for the HTTP server interrupts the one for Python at
    each answer, though that has more to answer, and both start anew with cold caches. Where there
    is one processor, hashing would leave a fifteenth of it: there all weigh the same.
    """
    # Records are written by a thread too, and no request should wait ten times as long for that.
    sys.setswitchinterval(SWITCH_SECONDS)
    # systemd kills a process that does what its unit forbids; ours allows it, and hides this. An
    # operator who has set another policy meant it.
    if "INVOCATION_ID" in os.environ or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    # Linux has a nice value for each thread.
    if process.available_processors() > 1 and os.getpriority(os.PRIO_PROCESS, 0) == 0:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, NICE)

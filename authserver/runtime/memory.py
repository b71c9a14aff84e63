"""What this process holds in memory stays in memory."""

import ctypes
import resource

PR_SET_DUMPABLE = 4


def keep_private() -> None:
    """Have the kernel write no core dump of this process: it may hold private keys and passwords.

    Where core dumps go to a program, the limit alone does not hold (core(5)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)

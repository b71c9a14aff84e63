"""Core dumps, which would hold private keys."""

import subprocess
import sys

PRINT = """
import ctypes, resource
from authserver.runtime import memory
memory.keep_private()
PR_GET_DUMPABLE = 3
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(PR_GET_DUMPABLE))
"""


def test_a_process_that_keeps_its_memory_private_is_not_dumped() -> None:
    done = subprocess.run([sys.executable, "-c", PRINT], capture_output=True, text=True, check=True)
    assert done.stdout == "(0, 0) 0\n"

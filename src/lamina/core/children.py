"""What a child process does so that it never outlives its parent, however that ends."""

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with(parent: int) -> None:
    """End this process when the one with that id ends, by any way that it may end.

    Linux's kernel sees to it at once; elsewhere, and where the parent was gone before this call, a
    thread looks every second, which it cannot while an extension holds Python's global lock.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)

"""Long work that gives way: pauses in which other threads of this process run, and a lower priority for its own.

Python lets a thread keep the interpreter for five milliseconds, and a call into C for as long as it takes. A text needs
less than one. So work on many megabytes is cut into pieces of well under a millisecond, with a pause between them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import Final

PIECE: Final = 131_072
"""Characters or bytes that are worked on between two pauses."""

# A pause of no length is none: the thread that waits is not awake yet when this one goes on.
_PAUSE_S: Final = 0.000_02


def give_way() -> None:
    """Let threads run that wait for the interpreter."""
    time.sleep(_PAUSE_S)


def lower_priority(niceness: int) -> None:
    """Give this thread less of a processor that others want, where threads have a priority of their own (Linux).

    Args:
        niceness: By how much it is nicer than the thread that started it, as for :manpage:`nice(1)`.
    """
    if sys.platform == "linux" and niceness:
        with contextlib.suppress(OSError):
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), own + niceness)

"""How the kernel schedules the agent: beside the server on the same cores, and not in its way.

A thread that wakes up usually takes its core from whoever runs there. Under `SCHED_BATCH` (sched(7)) it
waits its turn; its share of the cores stays what it was. A load wakes threads of the agent some 25 times, so
that a server's work is not cut to pieces is worth a tenth of the time of both (docs/benchmarks.md, Agent).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

log = logging.getLogger(__name__)


def give_way() -> None:
    """Have this thread, and all that it starts from now on, wait their turn when they wake up.

    Whoever was given another policy keeps it; nothing changes where the machine refuses.
    """
    _exchange(os.SCHED_OTHER, os.SCHED_BATCH)


@contextlib.contextmanager
def in_front() -> Iterator[None]:
    """Start processes here that do not give way as the agent does: requests go through them."""
    exchanged = _exchange(os.SCHED_BATCH, os.SCHED_OTHER)
    try:
        yield
    finally:
        if exchanged:
            _exchange(os.SCHED_OTHER, os.SCHED_BATCH)


def _exchange(policy: int, other: int) -> bool:
    """Give this thread another policy if it has this one; return whether that was done."""
    try:
        if os.sched_getscheduler(0) != policy:
            return False
        os.sched_setscheduler(0, other, os.sched_param(0))
    except OSError as error:
        log.debug("the scheduling policy stays", extra={"error": str(error)})
        return False
    return True

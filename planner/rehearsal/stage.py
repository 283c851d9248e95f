"""Where a rehearsal takes place: a folder, and a promise that everything started there is stopped."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from planner.errors import ShardpackError


@contextmanager
def stage(folder: Path | None) -> Iterator[tuple[Path, ExitStack]]:
    """Yield a folder and a stack that is unwound at the end, whatever happens, SIGTERM included.

    Parameters
    ----------
    folder
        Kept; made if it is absent. None uses a temporary one.
    """
    with ExitStack() as stack:
        stack.enter_context(_unwinding_on_sigterm())
        if folder is None:
            yield Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shardpack-"))), stack
        else:
            folder.mkdir(parents=True, exist_ok=True)
            yield folder.resolve(), stack


def available_bytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the memory that new processes can have without swapping, as the kernel reckons it (proc(5))."""
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise ShardpackError(f"{meminfo}: no line says MemAvailable")


@contextmanager
def _unwinding_on_sigterm() -> Iterator[None]:
    """Make SIGTERM unwind as Ctrl-C does, so that everything is stopped and deleted."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    before = signal.signal(signal.SIGTERM, _unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _unwind(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)

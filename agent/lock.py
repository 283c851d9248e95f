"""One agent a state directory: two would undo each other's work on the same server and files."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from agent.errors import SettingsError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive(state_dir: Path) -> Iterator[None]:
    """Keep other agents away from a folder for as long as this one lives, however it ends.

    Raises
    ------
    SettingsError
        Another agent works there, or the folder cannot be made.
    """
    try:
        # Its records hold URIs as they were given, which may be signed.
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(f"the state directory {state_dir} cannot be used: {error}") from error
    try:
        _lock(descriptor, state_dir)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, state_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SettingsError(f"another agent works in the state directory {state_dir}") from error
    except OSError as error:  # some network filesystems have no locks
        log.warning("the state directory cannot be locked", extra={"error": str(error)})

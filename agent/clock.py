"""Time, as the agent asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A clock that tests can set.

    Parameters
    ----------
    monotonic, wall
        Seconds that only run forward, and seconds since the epoch.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time

"""A few threads that carry out what the loop hands them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Task = Callable[[], None]


class Workers:
    """Daemon threads: a load that takes minutes does not hold up the agent's end.

    Parameters
    ----------
    count
        Threads; never more tasks than that are handed over at a time.
    """

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        for number in range(count):
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True).start()

    def submit(self, task: Task) -> None:
        """Have a task carried out; it must not raise."""
        self._tasks.put(task)

    def _work(self) -> None:
        while True:
            self._tasks.get()()

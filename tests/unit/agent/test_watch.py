from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from agent.watch import _watch


class AfterTurns(threading.Event):
    """Waits for nothing, and is set at the last of some turns."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.left = turns

    def wait(self, timeout: float | None = None) -> bool:
        self.left -= 1
        return self.left == 0


def test_a_folder_that_is_not_there_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="agent.watch")
    _watch(tmp_path / "absent", lambda: None, AfterTurns(4))
    assert [record.levelname for record in caplog.records] == ["INFO", "DEBUG", "DEBUG", "DEBUG"]

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.lock import exclusive


def test_one_agent_a_state_directory(tmp_path: Path) -> None:
    state_dir = tmp_path / "deep" / "state"
    with exclusive(state_dir), pytest.raises(SettingsError, match="another agent"), exclusive(state_dir):
        pass
    with exclusive(state_dir):
        assert state_dir.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be used"), exclusive(tmp_path / "file" / "state"):
        pass

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.errors import SettingsError
from agent.settings import Settings, default_state_dir


def settings(folder: Path, **fields: Any) -> Settings:
    given = {
        "config_dir": folder / "configs",
        "model_dir": folder / "models",
        "state_dir": folder / "state",
        "server_url": "http://127.0.0.1:8080",
        **fields,
    }
    return Settings(**given)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8080", "http://", "ftp://host", "http://host:99999", "http://user:secret@host", "http://["],
)
def test_an_address_that_is_none_is_refused_without_being_repeated(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="http://host:port") as caught:
        settings(tmp_path, server_url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("period_s", [0.0, -1.0, 61.0])
def test_a_period_in_which_the_agent_would_look_dead_is_refused(tmp_path: Path, period_s: float) -> None:
    with pytest.raises(SettingsError, match="at most 60 seconds"):
        settings(tmp_path, poll_s=period_s)


def test_state_among_the_models_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "models")
    for state_dir in ("models", "models/state", "link/state"):
        with pytest.raises(SettingsError, match="lies inside"):
            settings(tmp_path, state_dir=tmp_path / state_dir)


def test_models_among_the_state_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "state")
    for model_dir in ("state/trash", "state/parts", "link/parts"):
        with pytest.raises(SettingsError, match=r"the model directory .* lies inside"):
            settings(tmp_path, model_dir=tmp_path / model_dir, state_dir=tmp_path / "state")


def test_the_state_s_default_is_beside_the_models(tmp_path: Path) -> None:
    assert default_state_dir(tmp_path / "models") == tmp_path / ".shardpack" / "models"

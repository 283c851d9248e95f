"""docs/agent.md names what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from agent.cli import main
from agent.status import STATES, ModelState

GUIDE = (Path(__file__).parents[3] / "docs" / "agent.md").read_text()
FLAGS = sorted(
    {
        option
        for parameter in main.params
        if not getattr(parameter, "hidden", False)
        for option in parameter.opts
    }
)


def test_every_flag_is_described() -> None:
    missing = {flag for flag in FLAGS if f"`{flag}`" not in GUIDE} - {"--version"}
    assert missing == set()


def test_no_flag_is_described_that_is_not_there() -> None:
    named = set(re.findall(r"^\| `(--[a-z-]+)`", GUIDE, re.MULTILINE))
    assert named <= set(FLAGS)


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_described(state: ModelState) -> None:
    assert f"`{state}`" in GUIDE
    assert set(get_args(ModelState)) == set(STATES)


def test_every_reason_is_described() -> None:
    source = "\n".join(path.read_text() for path in (Path(__file__).parents[3] / "agent").rglob("*.py"))
    reasons = set(re.findall(r'(?:StorageError|PinError)\(\s*"([A-Z]\w+)"', source))
    assert {reason for reason in reasons if f"`{reason}`" not in GUIDE} - {"Superseded"} == set()

"""The images are built of what is there, and run as nobody."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(ROOT.glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


IN_THE_AGENTS = {"shardpack-gateway"}
"""Commands that are run from the agent's image."""


def test_there_is_one_for_each_command() -> None:
    entries = [re.search(r'ENTRYPOINT \["([a-z-]+)"\]', path.read_text()) for path in FILES]
    assert {entry[1] for entry in entries if entry} | IN_THE_AGENTS == set(PROJECT["scripts"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_it_names_is_there(path: Path) -> None:
    text = path.read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source.split('/')[0]}" in ignored
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", text)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_runs_as_the_user_of_the_manifests(path: Path) -> None:
    assert "\nUSER 1000:1000\n" in path.read_text()

"""All benchmarks collect garbage as the command does, and may refresh what is best known."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from planner.cli import COLLECT_AFTER
from tests.bench.records import REFRESH


@pytest.fixture(scope="package", autouse=True)
def _garbage_as_the_command() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*COLLECT_AFTER)
    yield
    gc.set_threshold(*before)


@pytest.fixture(autouse=True)
def _refresh_if_asked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REFRESH, raising=False)
    if request.config.getoption("--refresh-best-known"):
        monkeypatch.setenv(REFRESH, "1")

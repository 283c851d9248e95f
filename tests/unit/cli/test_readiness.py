"""Waiting for objects: how long, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from planner.cli.readiness import wait_until_ready
from planner.errors import ShardpackError

Object = dict[str, Any]


def shard(name: str, *, ready: str = "False") -> Object:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": ready, "message": "no pods"}]},
    }


class World:
    """Shards that become ready one after the other, one every ten seconds."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.names = [f"news-{index}" for index in range(count)]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def read(self, items: Sequence[Object]) -> list[Object | None]:
        return [
            shard(item["metadata"]["name"], ready=str(10.0 * (1 + self.index(item)) <= self.now))
            for item in items
        ]

    def index(self, item: Object) -> int:
        return self.names.index(item["metadata"]["name"])

    def wait(self, *, timeout_s: float = 600.0, quiet: bool = False) -> None:
        shards = [shard(name) for name in self.names]
        wait_until_ready(
            shards, self.read, timeout_s=timeout_s, quiet=quiet, clock=lambda: self.now, sleep=self.sleep
        )


def test_it_ends_when_all_are_ready_and_says_for_which_it_waits(capsys: pytest.CaptureFixture[str]) -> None:
    world = World(5)
    world.wait()
    assert world.now == 50.0
    lines = capsys.readouterr().err.splitlines()
    kind = "inferenceservice.serving.kserve.io"
    assert lines[0] == (
        f"waiting for 4 objects: {kind}/news-1, {kind}/news-2, {kind}/news-3 and 1 more [10 s]"
    )
    assert len(lines) == 4


def test_it_says_nothing_where_nothing_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    World(5).wait(quiet=True)
    assert capsys.readouterr().err == ""


def test_what_is_not_ready_in_time_is_told_with_its_reason() -> None:
    with pytest.raises(ShardpackError) as caught:
        World(2).wait(timeout_s=12.0, quiet=True)
    assert str(caught.value) == (
        "not ready after 12 s:\ninferenceservice.serving.kserve.io/news-1: Ready: no pods"
    )

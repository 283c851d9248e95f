"""The offline and the rebalance track, mean of three seeds, as JSON; ``test_openb_bench`` has the online one.

Offline all pods are known beforehand. Rebalancing starts at the end of an online run, ours and FGD's, and
moves at most k pods one at a time: exchanges of pods are not tried.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bench.openb.ours import Field
from tests.bench.openb.peers import place_by_fgd
from tests.bench.openb.trace import TRACES, read_run
from tests.bench.openb.tracks import Tenancy, place_known
from tests.bench.records import commit, keep

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

SEEDS = range(3)
MOVES = (10, 100, 1000)


@pytest.mark.parametrize("trace", TRACES)
def test_offline(openb: Path, trace: str) -> None:
    reached, seconds = [], []
    for seed in SEEDS:
        field = Field(read_run(openb, trace, seed))
        start = time.process_time()
        place_known(field)
        seconds.append(time.process_time() - start)
        reached.append(field.allocated_percent)
    keep(
        _record("offline", trace, mean_percent=_mean(reached), cpu_seconds=_mean(seconds)),
        f"openb-offline-{trace}",
    )
    assert min(reached) > 91


@pytest.mark.parametrize("start", ["ours", "fgd"])
@pytest.mark.parametrize("trace", TRACES)
def test_moves(openb: Path, trace: str, start: str) -> None:
    reached: dict[str, list[float]] = {str(most): [] for most in (0, *MOVES)}
    moves: dict[str, list[float]] = {str(most): [] for most in MOVES}
    for seed in SEEDS:
        nodes = place_by_fgd(read_run(openb, trace, seed)) if start == "fgd" else None
        tenancy = Tenancy(Field(read_run(openb, trace, seed)), nodes)
        reached["0"].append(tenancy.field.allocated_percent)
        moved = 0
        for most in MOVES:
            moved += tenancy.move_most(most - moved)
            moves[str(most)].append(moved)
            reached[str(most)].append(tenancy.field.allocated_percent)
    figures = {most: _mean(values) for most, values in reached.items()}
    made = {most: _mean(values) for most, values in moves.items()}
    keep(
        _record("moves", trace, start=start, mean_percent=figures, moved=made), f"openb-moves-{start}-{trace}"
    )
    assert list(figures.values()) == sorted(figures.values())


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 3)


def _record(track: str, trace: str, **more: Any) -> dict[str, Any]:
    return {
        "suite": "openb",
        "track": track,
        "instance": trace,
        "seeds": list(SEEDS),
        "commit": commit(),
        **more,
    }

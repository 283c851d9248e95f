"""The published policies, re-implemented, reproduce the published figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.openb.peers import PEERS
from tests.bench.openb.trace import PUBLISHED, TRACES, read_run

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

SEEDS = range(10)
TOLERANCE = 0.3
"""Percentage points; the seeds are ours, so the random numbers are not theirs."""


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("policy", PEERS)
def test_reproduces_the_published_figure(openb: Path, policy: str, trace: str) -> None:
    reached = []
    for seed in SEEDS:
        run = read_run(openb, trace, seed)
        PEERS[policy](run)
        reached.append(run.allocated_percent)
    assert sum(reached) / len(reached) == pytest.approx(PUBLISHED[policy][trace], abs=TOLERANCE)

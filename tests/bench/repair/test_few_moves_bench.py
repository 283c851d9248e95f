"""Few moves: POP's shard balancing with indivisible objects, round after round, beside our bound, as JSON.

1,024 objects on 128 servers, at most 16 each; ``load_i = 1e6 / (i + 1)^z``, z uniform in 0.05 to 0.30 and
drawn anew each round; every server is to be within 10 % of the mean. It is no scenario (loads have a least,
too), so it runs on the arrays of ``solve.repair.fewest``.
"""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from planner.solve.repair.fewest import even_out
from planner.solve.repair.windows import Window
from tests.bench.records import keep

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

OBJECTS, SERVERS, MOST, ROUNDS, DROPPED = 1_024, 128, 16, 120, 20


def _window(rng: np.random.Generator) -> Window:
    loads = (1e6 / np.arange(1, OBJECTS + 1) ** rng.uniform(0.05, 0.30)).astype(np.int64)
    mean = loads.sum() / SERVERS
    return Window(
        loads=loads,
        least=math.ceil(0.9 * mean),
        most=math.floor(1.1 * mean),
        aim=round(mean),
        objects=MOST,
    )


def _first(window: Window) -> np.ndarray:
    """The largest first, each to the server with the least load."""
    home, load = np.zeros(OBJECTS, dtype=np.int64), np.zeros(SERVERS)
    count = np.zeros(SERVERS, dtype=np.int64)
    for item in range(OBJECTS):
        server = int(np.where(count < MOST, load, np.inf).argmin())
        home[item] = server
        load[server] += window.loads[item]
        count[server] += 1
    return home


@pytest.fixture(scope="module")
def _machine_code() -> None:
    """Rounds of another seed: machine code is made before the clock runs."""
    rng = np.random.default_rng(106)
    home = _first(_window(rng))
    for _ in range(30):
        home = even_out(_window(rng), home, SERVERS).home


@pytest.mark.usefixtures("_machine_code")
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_few_moves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    home = _first(_window(rng))
    moves, bounds, seconds, fulfilled = [], [], [], 0
    for _ in range(ROUNDS):
        window = _window(rng)
        started = time.process_time()
        found = even_out(window, home, SERVERS, seed=seed)
        seconds.append(time.process_time() - started)
        moves.append(found.moves)
        bounds.append(found.at_least)
        fulfilled += found.fulfilled
        home = found.home
    counted = slice(DROPPED, None)
    record = {
        "instance": "few-moves",
        "seed": seed,
        "rounds": ROUNDS - DROPPED,
        "fulfilled": fulfilled,
        "moves": sum(moves[counted]),
        "at_least": sum(bounds[counted]),
        "gap_ratio": round(sum(moves[counted]) / sum(bounds[counted]) - 1, 4),
        "rounds_at_the_bound": sum(a == b for a, b in zip(moves[counted], bounds[counted], strict=True)),
        "cpu_seconds_median": round(float(np.median(seconds[counted])), 4),
        "cpu_seconds_most": round(max(seconds[counted]), 4),
    }
    keep(record, f"few-moves-{seed}")
    assert fulfilled == ROUNDS
    assert all(low <= high for low, high in zip(bounds, moves, strict=True))

"""Overload repair and balance beside Meta's Rebalancer and a plain greedy repair, as JSON.

Run by ``make bench``; ``SHARDPACK_BENCH_OUT`` names a folder for the records, else they are printed.
``SHARDPACK_BENCH_REBALANCER`` names an interpreter (Python 3.12 on) that has the package ``rebalancer``;
without it that peer is recorded as absent. ``SHARDPACK_BENCH_LARGE=1`` adds the fleet of 100,000 models.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.domain.placement import Placement
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from planner.solve.problem import make_problem
from planner.solve.repair.plans import level, repair
from tests.bench.records import keep
from tests.support.overloaded import ROOM, drifted

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

REBALANCER = os.environ.get("SHARDPACK_BENCH_REBALANCER")
SIZES = [(10_000, 370, 60)] + ([(100_000, 3_700, 300)] if os.environ.get("SHARDPACK_BENCH_LARGE") else [])
"""Models, shards, and the seconds that Rebalancer has."""


def _needs(scenario: Scenario) -> np.ndarray:
    """Shares of a shard's room, ``(models, 4)``."""
    rows = [model.footprints[0] for model in scenario.models]
    amounts = [(o.steady_bytes.p95, o.device_milli.p95, o.cpu_milli.p95, o.memory_bytes.p95) for o in rows]
    return np.array(amounts) / np.array(list(ROOM.values()))


def _homes(scenario: Scenario, base: Placement, after: Placement) -> np.ndarray:
    rows = {shard.name: row for row, shard in enumerate(base.shards)}
    at = {item.model: rows[item.shard] for item in after.placed}
    return np.array([at[model.name] for model in scenario.models])


def _figures(needs: np.ndarray, was: np.ndarray, now: np.ndarray, shards: int) -> dict[str, Any]:
    """Moves, shards that are over, the fullest shard, and the spread of how full shards are."""
    load = np.zeros((shards, needs.shape[1]))
    np.add.at(load, now, needs)
    return {
        "moves": int((was != now).sum()),
        "over": int((load.max(axis=1) > 1 + 1e-9).sum()),
        "fullest": round(float(load.max()), 4),
        "deviation": round(float(load.max(axis=1).std()), 4),
    }


def _greedy(needs: np.ndarray, was: np.ndarray, shards: int) -> np.ndarray:
    """What a script would do: the largest model that fits elsewhere leaves, for where most is free."""
    now, load = was.copy(), np.zeros((shards, needs.shape[1]))
    np.add.at(load, now, needs)
    for shard in range(shards):
        while load[shard].max() > 1:
            held = np.flatnonzero(now == shard)
            worst = int(load[shard].argmax())
            for item in held[np.argsort(-needs[held, worst])]:
                then = (load + needs[item]).max(axis=1)
                then[shard] = np.inf
                if then.min() <= 1:
                    target = int(then.argmin())
                    now[item] = target
                    load[shard] -= needs[item]
                    load[target] += needs[item]
                    break
            else:
                break
    return now


def _rebalancer(
    scenario: Scenario, base: Placement, seconds: int, folder: Path, *, balanced: bool
) -> dict[str, Any] | None:
    """Ask Rebalancer in its own interpreter; None where there is none."""
    if REBALANCER is None:
        return None
    assignment: dict[str, list[str]] = {shard.name: [] for shard in base.shards}
    for item in base.placed:
        assignment[item.shard].append(item.model)
    shares, names = _needs(scenario), [model.name for model in scenario.models]
    needs = {key: dict(zip(names, shares[:, at].tolist(), strict=True)) for at, key in enumerate(ROOM)}
    given = {"assignment": assignment, "needs": needs, "rooms": dict.fromkeys(ROOM, 1.0), "balance": balanced}
    (folder / "instance.json").write_text(json.dumps(given))
    script = Path(__file__).parent / "rebalancer_peer.py"
    subprocess.run(
        [REBALANCER, script, folder / "instance.json", str(seconds), folder / "result.json"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    rows = {shard.name: row for row, shard in enumerate(base.shards)}
    now = np.array([rows[found["assignment"][name]] for name in names])
    was = _homes(scenario, base, base)
    spent = {"cpu_seconds": round(found["cpu_seconds"], 2), "seconds": round(found["seconds"], 2)}
    return {**_figures(shares, was, now, len(base.shards)), **spent}


def _timed(record: dict[str, Any], started: tuple[float, float]) -> dict[str, Any]:
    cpu, wall = started
    spent = {"cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - wall}
    return {**record, **{key: round(value, 2) for key, value in spent.items()}}


def _now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(("models", "shards", "seconds"), SIZES)
def test_overload_repair(models: int, shards: int, seconds: int, seed: int, tmp_path: Path) -> None:
    small, start = drifted(300, 11, seed=seed)
    repair(make_problem(small), start)  # machine code is made before the clock runs
    level(make_problem(small), start, start, most_moves=1)
    scenario, base = drifted(models, shards, seed=seed)
    needs, was = _needs(scenario), _homes(scenario, base, base)
    started = _now()
    problem = make_problem(scenario)
    found = repair(problem, base)
    ours = _timed({}, started)
    plan = dataclasses.replace(make_plan(small, SolveOptions(work=1)), placement=base)
    started = _now()
    whole = make_plan(scenario, SolveOptions(work=5, seed=seed), base=plan)
    assert verify(scenario, whole) == ()
    assert whole.moves is not None
    end_to_end = _timed(_figures(needs, was, _homes(scenario, base, whole.placement), shards), started)
    started = _now()
    greedy = _timed(_figures(needs, was, _greedy(needs, was, shards), shards), started)
    peers = {"greedy": greedy, "rebalancer": _rebalancer(scenario, base, seconds, tmp_path, balanced=False)}
    record = {
        "instance": scenario.name,
        "seed": seed,
        "over_before": _figures(needs, was, was, shards)["over"],
        "at_least": found.at_least,
        "homeless": found.homeless,
        "repair": ours,
        "plan": end_to_end,
        "peers": peers,
    }
    matched = _rebalancer(scenario, base, seconds, tmp_path, balanced=True)
    if matched is not None:
        started = _now()
        after = level(problem, found.placement, base, most_moves=matched["moves"])
        ours = _timed(_figures(needs, was, _homes(scenario, base, after), shards), started)
        record["balance"] = {"ours": ours, "rebalancer": matched}
    keep(record, f"overload-{models}-{seed}")
    assert found.at_least <= end_to_end["moves"] <= greedy["moves"] or greedy["over"]
    assert not end_to_end["over"]

"""Seconds of CPU and memory of everything around the solver, at 10,000 to 1,000,000 replicas, as JSON.

Run by ``make bench``; ``SHARDPACK_BENCH_OUT`` names a folder for the records, else they are printed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.scale.steps import SEED, STEPS

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


def _step(folder: Path, *arguments: str) -> dict[str, Any]:
    """A step in a process of its own, whose peak of memory is the step's."""
    command = [sys.executable, "-m", "tests.bench.scale.steps", str(folder), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


@pytest.mark.parametrize("replicas", [10_000, 100_000, 1_000_000])
def test_scale(replicas: int, tmp_path: Path) -> None:
    fleet = _step(tmp_path, "prepare", str(replicas))
    steps = [step for step in STEPS if step != "load inline.yaml" or (tmp_path / "inline.yaml").exists()]
    record = {
        "seed": SEED,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        **{name: fleet[name] for name in ("models", "replicas", "shards")},
        "bytes": {path.name: path.stat().st_size for path in sorted(tmp_path.iterdir())},
        "steps": {step: _step(tmp_path, step) for step in steps},
    }
    assert (tmp_path / "written.json").read_bytes() == (tmp_path / "plan.json").read_bytes()
    _keep(record, f"scale-{replicas}")


def _keep(record: dict[str, Any], name: str) -> None:
    text = json.dumps(record)
    folder = os.environ.get("SHARDPACK_BENCH_OUT")
    if folder is None:
        sys.stdout.write(text + "\n")
    else:
        (Path(folder) / f"{name}.json").write_text(text + "\n", encoding="utf-8")

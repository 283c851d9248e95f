"""What loads cost Triton itself: through its API with so many models there, and at a start with all of them.

The models are tiny and take no time of their own. The line closest to the least of the loads is that of the
catalogue's runtime ``triton`` (``loads``): what else runs on the machine makes loads longer, never shorter.
Run by ``make bench``; ``SHARDPACK_BENCH_OUT`` names a folder for the record.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
import urllib3

from planner.errors import ShardpackError
from planner.rehearsal.build import build_native
from planner.rehearsal.triton import TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome, prepare_triton
from tests.bench.records import commit, keep
from tests.support.agent_models import model_folder
from tests.support.triton_server import ready

pytestmark = [pytest.mark.bench, pytest.mark.triton, pytest.mark.timeout(3600)]

KNOWN = (0, 500, 1_000, 2_000, 4_000, 8_000)
LOADS = 40
POOL = urllib3.PoolManager(maxsize=1, retries=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> TritonHome:
    try:
        native = build_native(tmp_path_factory.mktemp("native"))
        return prepare_triton(tmp_path_factory.mktemp("triton"), native=native)
    except ShardpackError as error:
        pytest.skip(str(error))


def test_what_loads_cost_the_server(tmp_path: Path, home: TritonHome) -> None:
    repository = tmp_path / "models"
    repository.mkdir()
    started_s, load_s, least_s = {}, {}, {}
    count = 0
    for known in KNOWN:
        while count < known:
            model_folder(repository / f"m{count:05}")
            count += 1
        began = time.monotonic()
        options = TritonOptions(load_at_start=("*",) if known else (), live_timeout_s=600, load_threads=4)
        server = start_triton(f"known-{known}", repository, home=home, options=options)
        started_s[known] = time.monotonic() - began
        try:
            assert len(ready(server)) == known
            took_s = loads_s(server, repository, first=known)
            load_s[known], least_s[known] = statistics.median(took_s), min(took_s)
        finally:
            server.kill()
        count = known + LOADS
    each_s, per_known_s = line(least_s)
    _, at_start_s = line(started_s)
    keep(
        {
            "suite": "agent",
            "track": "load-cost",
            "commit": commit(),
            "load_s": load_s,
            "least_load_s": least_s,
            "start_s": started_s,
            "each_s": each_s,
            "per_known_s": per_known_s,
            "at_start_s": at_start_s,
        },
        "agent-load-cost",
    )
    assert per_known_s > 0


def loads_s(server: TritonProcess, repository: Path, *, first: int) -> list[float]:
    """Return how long each load takes, one at a time, of some more models."""
    took_s = []
    for number in range(first, first + LOADS):
        place = repository / f"m{number:05}"
        if not place.exists():
            model_folder(place)
        began = time.monotonic()
        answer = POOL.request("POST", f"{server.http_url}/v2/repository/models/{place.name}/load", body=b"{}")
        took_s.append(time.monotonic() - began)
        assert answer.status == 200, answer.data
    return took_s


def line(points: dict[int, float]) -> tuple[float, float]:
    """Return start and slope of the line from the first point, at 0, closest to the others."""
    start = points[0]
    beside = {known: seconds - start for known, seconds in points.items()}
    slope, _ = statistics.linear_regression(list(beside), list(beside.values()), proportional=True)
    return start, slope

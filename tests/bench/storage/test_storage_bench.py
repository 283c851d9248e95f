"""Downloads through the agent's own path beside obstore's copies, from one real S3 server, in one run."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

import pytest

from tests.bench.records import commit, keep
from tests.bench.storage.ways import WORKERS, bulk_copy, costs, streamed_copy, through_the_agent
from tests.support.real_stores import NoStoreError, RealStore, seaweed

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

MODELS = 300
WEIGHTS_BYTES = 4 << 20
ROUNDS = 5


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStore]:
    pytest.importorskip("obstore")
    try:
        with seaweed(tmp_path_factory.mktemp("weed")) as running:
            yield running
    except NoStoreError as error:
        pytest.skip(str(error))


def fill(store: RealStore) -> None:
    random = Random(0)
    weights = random.randbytes(WEIGHTS_BYTES)

    def put(number: int) -> None:
        store.put("models", f"many/{number}/config.pbtxt", b"# %d" % number)
        store.put("models", f"many/{number}/1/labels.txt", random.randbytes(1 << 16))
        store.put("models", f"many/{number}/1/model.onnx", b"%08d" % number + weights)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(put, range(MODELS)))


# What is timed, and what by its side in the same round.
ALL, WEIGHTS = (
    ("obstore", "obstoreSynced", "obstoreCompared", "obstoreStreamed"),
    ("obstoreWeights", "obstoreWeightsSynced", "obstoreWeightsStreamed"),
)
PEERS = {
    "s3": ALL,
    "s3By8": ALL,
    "s3WithoutMd5": ALL,
    "s3WithoutMd5By8": ALL,
    "http": WEIGHTS,
    "httpBy8": WEIGHTS,
}


def ways(store: RealStore) -> dict[str, Callable[[Path], None]]:
    """Return who downloads, by the names of the record."""
    import obstore

    names = ("config.pbtxt", "1/labels.txt", "1/model.onnx")
    keys = [f"many/{number}/{name}" for number in range(MODELS) for name in names]
    weights = [key for key in keys if key.endswith(".onnx")]
    folders = [f"s3://models/many/{number}" for number in range(MODELS)]
    signed = obstore.sign(store.client("models"), "GET", weights, timedelta(hours=1))
    from_s3 = partial(through_the_agent, dict(store.environment), folders)
    from_web = partial(through_the_agent, {}, signed)
    return {
        "s3": from_s3,
        "s3By8": partial(from_s3, downloads=8),
        "s3WithoutMd5": partial(from_s3, compare_md5=False),
        "s3WithoutMd5By8": partial(from_s3, compare_md5=False, downloads=8),
        "obstore": partial(bulk_copy, store, keys, synced=False),
        "obstoreSynced": partial(bulk_copy, store, keys, synced=True),
        "obstoreCompared": partial(bulk_copy, store, keys, synced=False, compared=True),
        "obstoreStreamed": partial(streamed_copy, store, keys),
        "http": from_web,
        "httpBy8": partial(from_web, downloads=8),
        "obstoreWeights": partial(bulk_copy, store, weights, synced=False),
        "obstoreWeightsSynced": partial(bulk_copy, store, weights, synced=True),
        "obstoreWeightsStreamed": partial(streamed_copy, store, weights),
    }


def timed(store: RealStore, folder: Path) -> dict[str, list[dict[str, float]]]:
    """Return what each way took in each round.

    Each has a process of its own, where memory that others have used makes none faster, and a first turn that
    does not count. The order of a round is random.
    """
    rounds: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        spawn = multiprocessing.get_context("spawn")
        todo = [
            (name, way, stack.enter_context(ProcessPoolExecutor(1, mp_context=spawn)))
            for name, way in ways(store).items()
        ]
        random = Random(1)
        for _ in range(1 + ROUNDS):
            random.shuffle(todo)
            for name, way, process in todo:
                took = process.submit(costs, way, folder / name, store.pid).result()
                rounds.setdefault(name, []).append(took)
    return {name: took[1:] for name, took in rounds.items()}


def ratio(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the medians of two ways' ratios in the same rounds: by the clock, and of all CPU seconds."""

    def cpu(took: Mapping[str, float]) -> float:
        return took["cpuSeconds"] + took["storeCpuSeconds"]

    pairs = list(zip(ours, theirs, strict=True))
    return {
        "clock": round(median(our["seconds"] / their["seconds"] for our, their in pairs), 3),
        "cpu": round(median(cpu(our) / cpu(their) for our, their in pairs), 3),
    }


def test_many_models(store: RealStore, tmp_path: Path) -> None:
    fill(store)
    rounds = timed(store, tmp_path)
    record = {
        "benchmark": "storage-many",
        "commit": commit(),
        "models": MODELS,
        "bytes": MODELS * (WEIGHTS_BYTES + (1 << 16)),
        "ratios": {
            way: {peer: ratio(rounds[way], rounds[peer]) for peer in peers} for way, peers in PEERS.items()
        },
        **{
            what: {name: [took[what] for took in all_took] for name, all_took in rounds.items()}
            for what in ("seconds", "cpuSeconds", "storeCpuSeconds")
        },
    }
    keep(record, "storage-many")


LARGE = """
import sys, time
from pathlib import Path
from agent.repository import Repository
from agent.storage import Limits
folder = Path(sys.argv[1])
repository = Repository(folder / "models", folder / "state", Limits())
repository.prepare()
import obstore
def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
began = time.monotonic()
copy = repository.download("large", sys.argv[2], unwanted=lambda: False, seconds=time.monotonic)
took = time.monotonic() - began
print(copy.total_bytes, before, peak(), took)
"""


def test_a_large_object(store: RealStore, tmp_path: Path) -> None:
    gibibytes = int(os.environ.get("SHARDPACK_BENCH_GIB", "5"))
    if shutil.disk_usage(tmp_path).free < (3 * gibibytes + 4) << 30:
        pytest.skip(f"not enough room for three copies of {gibibytes} GiB")
    block = Random(0).randbytes(64 << 20)
    path = tmp_path / "large.bin"
    with path.open("wb") as stream:
        for _ in range(gibibytes * 16):
            stream.write(block)
    store.put("models", "large/1/model.bin", path, chunk_size=64 << 20, max_concurrency=2)
    path.unlink()
    os.sync()
    began = time.monotonic()
    (tmp_path / "peer").mkdir()
    bulk_copy(store, ["large/1/model.bin"], tmp_path / "peer", synced=True)
    peer_seconds = time.monotonic() - began
    shutil.rmtree(tmp_path / "peer")
    os.sync()
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path / "agent"), "s3://models/large"],
        env={**os.environ, **store.environment, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    total, before, peak, took = done.stdout.split()
    record = {
        "benchmark": "storage-large",
        "commit": commit(),
        "bytes": int(total),
        "seconds": round(float(took), 2),
        "obstoreSyncedSeconds": round(peer_seconds, 2),
        "rssBeforeBytes": int(before),
        "rssPeakBytes": int(peak),
    }
    keep(record, "storage-large")

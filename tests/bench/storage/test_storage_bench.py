"""Downloads through the agent's own path beside obstore's bulk copy, from one real S3 server, in one run."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from agent.lanes import Lanes
from agent.repository import Repository
from agent.storage import Limits, Reach
from tests.bench.records import commit, keep
from tests.support.real_stores import NoStoreError, RealStore, seaweed

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

MODELS = 300
WEIGHTS_BYTES = 4 << 20
ROUNDS = 5
WORKERS = 16


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


def bulk_copy(store: RealStore, keys: Sequence[str], folder: Path, *, synced: bool) -> None:
    """Copy objects as obstore does it, with so many at a time as it is fastest with."""
    import obstore
    from obstore.store import LocalStore

    client, local = store.client("models"), LocalStore(folder)

    async def copy(key: str, turn: asyncio.Semaphore) -> None:
        async with turn:
            await obstore.put_async(local, key, await obstore.get_async(client, key))
            if synced:
                await asyncio.to_thread(sync, folder / key)

    async def copy_all() -> None:
        turn = asyncio.Semaphore(WORKERS)
        await asyncio.gather(*(copy(key, turn) for key in keys))

    asyncio.run(copy_all())


def sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def through_the_agent(
    environment: dict[str, str], uris: Sequence[str], folder: Path, *, compare_md5: bool = True
) -> None:
    """Download models as the agent's loop does: so many at a time as it does by default."""
    repository = Repository(
        folder / "models", folder / "state", Limits(), Reach(environment=environment, compare_md5=compare_md5)
    )
    repository.prepare()

    def download(number: int) -> None:
        repository.download(f"m{number}", uris[number], unwanted=lambda: False, seconds=time.monotonic)

    with ThreadPoolExecutor(Lanes().downloads) as pool:
        list(pool.map(download, range(len(uris))))


def seconds(work: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    """Return how long work takes, and its CPU seconds, on a disk that has nothing else to write."""
    folder.mkdir()
    os.sync()
    began, cpu = time.monotonic(), time.process_time()
    work(folder)
    took, spent = time.monotonic() - began, time.process_time() - cpu
    shutil.rmtree(folder)
    return round(took, 3), round(spent, 3)


def test_many_models(store: RealStore, tmp_path: Path) -> None:
    import obstore

    fill(store)
    names = ("config.pbtxt", "1/labels.txt", "1/model.onnx")
    keys = [f"many/{number}/{name}" for number in range(MODELS) for name in names]
    weights = [key for key in keys if key.endswith(".onnx")]
    folders = [f"s3://models/many/{number}" for number in range(MODELS)]
    signed = [obstore.sign(store.client("models"), "GET", key, timedelta(hours=1)) for key in weights]
    environment = dict(store.environment)
    ways: dict[str, Callable[[Path], None]] = {
        "s3": lambda folder: through_the_agent(environment, folders, folder),
        "s3WithoutMd5": lambda folder: through_the_agent(environment, folders, folder, compare_md5=False),
        "obstore": lambda folder: bulk_copy(store, keys, folder, synced=False),
        "obstoreSynced": lambda folder: bulk_copy(store, keys, folder, synced=True),
        "http": lambda folder: through_the_agent(environment, signed, folder),
        "obstoreWeights": lambda folder: bulk_copy(store, weights, folder, synced=False),
        "obstoreWeightsSynced": lambda folder: bulk_copy(store, weights, folder, synced=True),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    # Whoever comes after one that keeps objects in memory finds that memory mapped: each has each place.
    order, random = list(ways), Random(1)
    for _ in range(ROUNDS):
        random.shuffle(order)
        for name in order:
            times[name].append(seconds(ways[name], tmp_path / name))
    record = {
        "benchmark": "storage-many",
        "commit": commit(),
        "models": MODELS,
        "bytes": MODELS * (WEIGHTS_BYTES + (1 << 16)),
        "seconds": {name: [took for took, _ in rounds] for name, rounds in times.items()},
        "cpuSeconds": {name: [spent for _, spent in rounds] for name, rounds in times.items()},
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

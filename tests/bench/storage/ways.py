"""The ways of one download that are timed: the agent's, and what its storage library does by itself."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from agent.background import give_way
from agent.lanes import Lanes
from agent.repository import Repository
from agent.storage import Limits, Reach
from tests.support.real_stores import RealStore

if TYPE_CHECKING:
    from obstore import Bytes

WORKERS = 16
"""Objects that obstore copies at a time: it is fastest so."""

_CHUNK_BYTES = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")


def bulk_copy(
    store: RealStore, keys: Sequence[str], folder: Path, *, synced: bool, compared: bool = False
) -> None:
    """Copy objects as obstore does it by itself, each through memory.

    Parameters
    ----------
    store
        Where they are.
    keys
        Of the objects.
    folder
        Where they go.
    synced
        Whether each file is synced.
    compared
        Whether each content is compared with the MD5 that its ETag is: obstore by itself verifies nothing.
    """
    import obstore
    from obstore.store import LocalStore

    client, local = store.client("models"), LocalStore(folder)

    async def copy(key: str, turn: asyncio.Semaphore) -> None:
        async with turn:
            found = await obstore.get_async(client, key)
            if compared:
                content = await found.bytes_async()
                await asyncio.to_thread(_compare, content, found.meta["e_tag"])
                await obstore.put_async(local, key, content)
            else:
                await obstore.put_async(local, key, found)
            if synced:
                await asyncio.to_thread(_sync, folder / key)

    async def copy_all() -> None:
        turn = asyncio.Semaphore(WORKERS)
        await asyncio.gather(*(copy(key, turn) for key in keys))

    asyncio.run(copy_all())


def _compare(content: Bytes, etag: str | None) -> None:
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != (etag or "").strip('"'):
        raise ValueError(f"the content is not {etag}")


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def streamed_copy(store: RealStore, keys: Sequence[str], folder: Path) -> None:
    """Write objects as obstore's streams bring them and sync each: the least that can be done with a byte."""
    import obstore

    client = store.client("models")

    def copy(key: str) -> None:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb", buffering=0) as target:
            for chunk in obstore.get(client, key).stream(min_chunk_size=_CHUNK_BYTES):
                target.write(chunk)
            os.fsync(target.fileno())

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(copy, keys))


def through_the_agent(
    environment: Mapping[str, str],
    uris: Sequence[str],
    folder: Path,
    *,
    compare_md5: bool = True,
    downloads: int = Lanes().downloads,
) -> None:
    """Download models as the agent does: so many at a time as it does by default, and scheduled as it is."""
    give_way()
    repository = Repository(
        folder / "models", folder / "state", Limits(), Reach(environment=environment, compare_md5=compare_md5)
    )
    repository.prepare()

    def download(number: int) -> None:
        repository.download(f"m{number}", uris[number], unwanted=lambda: False, seconds=time.monotonic)

    with ThreadPoolExecutor(downloads) as pool:
        list(pool.map(download, range(len(uris))))


def costs(work: Callable[[Path], None], folder: Path, store: int) -> dict[str, float]:
    """Return the seconds that work takes, and the CPU seconds of it and of its store, on an idle disk.

    Parameters
    ----------
    work
        Fills a folder.
    folder
        Is made for it, and deleted.
    store
        The process that it downloads from.
    """
    folder.mkdir()
    os.sync()
    began, own, others = time.monotonic(), time.process_time(), _cpu_seconds(store)
    work(folder)
    took = {
        "seconds": time.monotonic() - began,
        "cpuSeconds": time.process_time() - own,
        "storeCpuSeconds": _cpu_seconds(store) - others,
    }
    shutil.rmtree(folder)
    return {name: round(value, 3) for name, value in took.items()}


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # proc(5): utime, stime

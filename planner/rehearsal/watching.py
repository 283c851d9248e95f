"""Models that should stay while a plan changes: are they there all the time, do they answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

import urllib3

from planner.rehearsal.changes import Seat
from planner.rehearsal.traffic import Question, ask

QUESTION = Question(rows=((1.0, 2.0, 3.0),), answers=((1.0, 2.0, 3.0),))
"""The tiny backend gives back what it is given."""

_LOOK_EVERY_S = 0.1
_ASK_EVERY_S = 0.05
_TIMEOUT_S = 10.0


@dataclass(slots=True, kw_only=True)
class Watch:
    """What was seen.

    Parameters
    ----------
    looks
        How often all servers were looked at.
    absent
        For each model that was away, at how many looks in a row at most.
    asked, unanswered
        Requests that were sent, and what came of those that were not answered as they should be.
    """

    looks: int = 0
    absent: dict[Seat, int] = field(default_factory=dict)
    asked: int = 0
    unanswered: list[str] = field(default_factory=list)


@contextmanager
def watching(
    stay: Mapping[str, Collection[str]], *, sample: Sequence[Seat], urls: Mapping[str, str]
) -> Iterator[Watch]:
    """Watch models while the body runs; what is yielded is complete when it has ended.

    Parameters
    ----------
    stay
        For each shard the models that should be ready all the time.
    sample
        Those that are asked, one after the other, again and again.
    urls
        Base of each shard's server.
    """
    watch, over = Watch(), Event()
    threads = [
        Thread(
            target=_repeat, args=(_looker(watch, stay, urls), over, _LOOK_EVERY_S), name="look", daemon=True
        ),
        Thread(
            target=_repeat, args=(_asker(watch, sample, urls), over, _ASK_EVERY_S), name="ask", daemon=True
        ),
    ]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _repeat(step: Callable[[], None], over: Event, every_s: float) -> None:
    """Do a step again and again, once more after the end: so that the end itself is seen."""
    last = False
    while not last:
        last = over.is_set()
        began_s = time.monotonic()
        step()
        over.wait(max(0.0, every_s - (time.monotonic() - began_s)))


def _looker(watch: Watch, stay: Mapping[str, Collection[str]], urls: Mapping[str, str]) -> Callable[[], None]:
    pool, now = urllib3.PoolManager(retries=False), dict[Seat, int]()

    def look() -> None:
        for shard, models in stay.items():
            ready = ready_models(pool, urls[shard])
            for model in models:
                now[model, shard] = 0 if model in ready else now.get((model, shard), 0) + 1
        watch.looks += 1
        for seat, looks in now.items():
            if looks > watch.absent.get(seat, 0):
                watch.absent[seat] = looks

    return look


def ready_models(pool: urllib3.PoolManager, url: str) -> frozenset[str]:
    """Return the models that a Triton serves now; none where it does not answer."""
    body = json.dumps({"ready": True})
    try:
        answer = pool.request("POST", f"{url}/v2/repository/index", body=body, timeout=_TIMEOUT_S)
        return frozenset(row["name"] for row in json.loads(answer.data))
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError):
        return frozenset()


def _asker(watch: Watch, sample: Sequence[Seat], urls: Mapping[str, str]) -> Callable[[], None]:
    pool = urllib3.PoolManager()

    def ask_next() -> None:
        if not sample:
            return
        model, shard = sample[watch.asked % len(sample)]
        verdict = ask(pool, infer_url(urls[shard], model), QUESTION)
        watch.asked += 1
        if not verdict.correct:
            watch.unanswered.append(f"{shard}/{model}: {verdict.status or 'no answer'} {verdict.detail}")

    return ask_next


def infer_url(url: str, model: str) -> str:
    """Return where a server answers for a model."""
    return f"{url}/v2/models/{model}/infer"

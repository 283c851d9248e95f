"""What agents measured of models, and what that makes of the footprints that they are planned by."""

from __future__ import annotations

import dataclasses
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import urllib3

from planner.controller.asking import Asker, Rounds, Status
from planner.controller.views import PodView
from planner.domain.fleet import Backend, Runtime
from planner.domain.footprint import Amount, FootprintOption
from planner.domain.memory import need
from planner.domain.model import Model
from planner.domain.placement import Placed

_log = logging.getLogger(__name__)

Trust = Literal["raise", "use", "ignore"]
"""Whether measured figures only raise footprints, take the place of all, or of none.

What a model takes after its load grows with its first requests (arenas, autotuning): a figure below a
footprint is no reason to plan with less unless somebody says so.
"""

_ASKED_AT_ONCE = 32
_MOST_BYTES = 2**60
_SHARE_PERCENT = 2
"""A figure so near its footprint is no news: memory comes in pieces of 2 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What loading a model has taken on a device of a pod.

    Parameters
    ----------
    shard, pod, device
        Where; the device as the agent names it.
    model
        Which.
    measured_bytes
        What the device's use grew by; of the first model of a backend there, with the backend's base.
    """

    shard: str
    pod: str
    device: str
    model: str
    measured_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A footprint that is not what it was declared to be.

    Parameters
    ----------
    model, option
        Which of whose footprints.
    declared_bytes, measured_bytes
        GPU memory on each of its devices: as it was said, and as it is.
    """

    model: str
    option: int
    declared_bytes: int
    measured_bytes: int


# --------------------------------------------------------------------------------------------------- asking


def ask_agents(pods: Iterable[PodView], *, timeout_s: float = 5.0) -> tuple[list[Measure], list[str]]:
    """Return what the agents of shards' pods have measured, and the pods that do not answer."""
    asker = Asker(Rounds(timeout_s=timeout_s), heard=lambda *_: None)
    there = [pod for pod in pods if pod.shard and pod.address is not None and not pod.deleting]
    measures: list[Measure] = []
    silent: list[str] = []

    def ask(pod: PodView) -> list[Measure] | None:
        try:
            return list(measures_in(pod, asker.status_of(pod)))
        except (
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
        ) as error:
            _log.info("the agent of pod %s tells nothing: %s", pod.name, error)
            return None

    with ThreadPoolExecutor(_ASKED_AT_ONCE, thread_name_prefix="ask") as threads:
        for pod, found in zip(there, threads.map(ask, there), strict=True):
            if found is None:
                silent.append(pod.name)
            else:
                measures += found
    asker.stop()
    return measures, silent


def measures_in(pod: PodView, status: Status) -> Iterator[Measure]:
    """Yield what a status tells of models that were measured."""
    for name, entry in (status.get("models") or {}).items():
        measured, device = entry.get("measuredBytes"), entry.get("device")
        if isinstance(measured, int) and 0 < measured < _MOST_BYTES and device:
            yield Measure(
                shard=pod.shard,
                pod=pod.name,
                device=str(device),
                model=str(name),
                measured_bytes=measured,
            )


# ------------------------------------------------------------------------------------------------- revising


def revised(  # noqa: PLR0913 - each is one thing that figures are read by
    models: Mapping[str, Model],
    placed: Iterable[Placed],
    measures: Iterable[Measure],
    *,
    backends: Mapping[str, Backend],
    runtimes: Mapping[str, Runtime],
    trust: Trust,
) -> tuple[dict[str, Model], tuple[Revision, ...]]:
    """Return models with the footprints that were measured, and what has become of which.

    Parameters
    ----------
    models, placed
        What is planned, and where it is: a figure is of the option that runs there.
    measures
        What agents tell. Of the models of a backend on one device, the one that is furthest above its
        footprint is taken for the first there, whose figure has the backend's base in it.
    backends, runtimes
        By name, and by shard.
    trust
        What figures are good for.
    """
    if trust == "ignore":
        return dict(models), ()
    option_at = {(item.model, item.shard): item.option for item in placed}
    known = [item for item in measures if item.model in models and (item.model, item.shard) in option_at]
    said: dict[tuple[str, str], int] = {}
    for item in known:
        model = models[item.model]
        wants = need(
            model.footprints[option_at[item.model, item.shard]],
            backend=backends[model.backend],
            runtime=runtimes[item.shard],
            quantile="p95",
        )
        said[item.model, item.shard] = wants.steady_bytes
    figures: dict[tuple[str, int], tuple[int, int]] = {}
    for item, own_bytes in _without_bases(known, said, models, backends):
        key = item.model, option_at[item.model, item.shard]
        figures[key] = max(figures.get(key, (0, 0)), (own_bytes, said[item.model, item.shard]))
    fresh, revisions = dict(models), []
    for (name, option), (measured_bytes, declared) in sorted(figures.items()):
        if not _is_news(declared, measured_bytes, trust):
            continue
        revisions.append(
            Revision(model=name, option=option, declared_bytes=declared, measured_bytes=measured_bytes)
        )
        fresh[name] = _with(fresh[name], option, measured_bytes)
    return fresh, tuple(revisions)


def _without_bases(
    measures: Iterable[Measure],
    said: Mapping[tuple[str, str], int],
    models: Mapping[str, Model],
    backends: Mapping[str, Backend],
) -> Iterator[tuple[Measure, int]]:
    """Yield figures without the base that the first model of each backend brought to its device."""
    together: dict[tuple[str, str, str], list[tuple[int, str, Measure]]] = defaultdict(list)
    for item in measures:
        excess = item.measured_bytes - said[item.model, item.shard]
        together[item.pod, item.device, models[item.model].backend].append((-excess, item.model, item))
    for (_, _, backend), found in together.items():
        (negative, _, first), *rest = sorted(found, key=lambda one: one[:2])
        base = min(max(0, -negative), backends[backend].device_base_bytes)
        yield first, first.measured_bytes - base
        yield from ((item, item.measured_bytes) for _, _, item in rest)


def _is_news(declared: int, measured: int, trust: Trust) -> bool:
    if trust == "raise" and measured <= declared:
        return False
    return abs(measured - declared) * 100 > declared * _SHARE_PERCENT


def _with(model: Model, option: int, measured_bytes: int) -> Model:
    old = model.footprints[option]
    surplus = Amount(
        p50=old.load_peak_bytes.p50 - old.steady_bytes.p50, p95=old.load_peak_bytes.p95 - old.steady_bytes.p95
    )
    # What loading takes on top of it was not measured: it stays as it was said.
    changes: dict[str, Any] = {
        "steady_bytes": Amount(p50=measured_bytes, p95=measured_bytes),
        "load_peak_bytes": Amount(
            p50=measured_bytes + max(0, surplus.p50), p95=measured_bytes + max(0, surplus.p50, surplus.p95)
        ),
        "source": "measured",
    }
    fresh: FootprintOption = dataclasses.replace(old, **changes)
    footprints = (*model.footprints[:option], fresh, *model.footprints[option + 1 :])
    return dataclasses.replace(model, footprints=footprints)

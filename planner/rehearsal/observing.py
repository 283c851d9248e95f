"""A shard that was rehearsed, as it is: its models, its devices, what its agent did."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import urllib3

from planner.domain.footprint import Quantile
from planner.errors import ShardpackError
from planner.rehearsal.changes import Seat
from planner.rehearsal.gpus import peak_bytes
from planner.rehearsal.pods import Pod, check_running, serves_as_planned, wanted_generation
from planner.rehearsal.stand_ins import expected_bytes, kept_bytes
from planner.rehearsal.traffic import ask
from planner.rehearsal.watching import QUESTION, infer_url
from planner.report.rehearsal import RehearsedDevice, RehearsedModel, RehearsedShard
from planner.report.usage import DeviceUse, ShardUse

_LOOK_S = 0.25
_HOPELESS = 2
"""After so many tries of a load its failure counts: the first may have met the loads of a start."""

_WEIGHINGS = 10
"""The agent asks NVML once a second, and a server that was told to unload is not done at once."""


def settle(pod: Pod, *, began_s: float, timeout_s: float, broken_off: Event) -> float:
    """Return when an agent has nothing left to do that could succeed, with the seconds since ``began_s``.

    Raises
    ------
    ShardpackError
        It had not in time, its server or it ended, or the rehearsal was broken off.
    """
    while not broken_off.is_set():
        check_running(pod)
        seconds = time.monotonic() - began_s
        if is_settled(pod):
            return seconds
        if seconds > timeout_s:
            raise ShardpackError(f"{pod.spec.shard} was not done after {timeout_s:g} s")
        broken_off.wait(_LOOK_S)
    raise ShardpackError("the rehearsal was broken off")


def is_settled(pod: Pod) -> bool:
    """Whether an agent obeys the documents that are there and has nothing left to do that could succeed."""
    if not pod.is_ready():
        return False
    try:
        status = pod.status()
    except ShardpackError:
        return False  # late on a busy machine; the deadline is the caller's
    obeyed = status["generation"] == wanted_generation(pod.spec)
    return obeyed and all(is_final(entry) for entry in status["models"].values())


def is_final(entry: Mapping[str, Any]) -> bool:
    """Whether a model's entry in the status will hardly change any more. PURE."""
    return serves_as_planned(entry) or int(entry["attempts"]) >= _HOPELESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Looks at shards.

    Parameters
    ----------
    quantile
        At which the plan reckons.
    gpus
        Holds a directory of GPUs for each shard.
    foreign_bytes
        What others hold of every GPU beside what the scenario says.
    """

    quantile: Quantile
    gpus: Path
    foreign_bytes: int = 0

    def shard(  # noqa: PLR0913 - one for everything that is known of it
        self,
        use: ShardUse,
        *,
        pod: Pod | None,
        before: ShardUse | None,
        actions: Counter[tuple[str, str]],
        ready_s: float | None,
        fault: ShardpackError | None,
        asked: Collection[Seat],
    ) -> RehearsedShard:
        """Return what is seen of a shard.

        Parameters
        ----------
        use
            The plan's account of it.
        pod
            Where it runs; None if it did not start.
        before
            The account of the plan before, where the server has gone on from there.
        actions
            What its agent had done before.
        ready_s, fault
            When it had nothing left to do, and why it did not get there.
        asked
            The models that are asked.
        """
        seen = RehearsedShard(
            shard=use.shard.name,
            shard_type=use.shard_type.name,
            models=tuple(_absent(use, item.placed.model) for item in use.occupants),
            devices=(),
            ready_s=ready_s,
            fault=None if fault is None else str(fault),
        )
        if pod is None:
            return seen
        try:
            done = pod.actions() - actions
            return replace(
                seen,
                models=_models(use, pod, asked),
                devices=self._devices(use, pod, before),
                loads=done["load", "done"],
                unloads=done["unload", "done"],
                failed_loads=done["load", "failed"],
                no_room=done["load", "no room"],
            )
        except ShardpackError as error:
            return replace(seen, fault=seen.fault or str(error))

    def _devices(self, use: ShardUse, pod: Pod, before: ShardUse | None) -> tuple[RehearsedDevice, ...]:
        """Weigh every GPU, again for a while if it is not what is expected."""
        if not any(device.is_gpu for device in use.devices):
            return ()
        for _ in range(_WEIGHINGS):
            found = tuple(
                self._device(device, index, pod, None if before is None else before.devices[index])
                for index, device in enumerate(use.devices)
            )
            if all(device.difference_bytes == 0 for device in found):
                break
            time.sleep(_LOOK_S)
        return found

    def _device(self, device: DeviceUse, index: int, pod: Pod, before: DeviceUse | None) -> RehearsedDevice:
        used = {item["index"]: int(item["usedBytes"]) for item in pod.status()["devices"]}
        is_mig = any(uuid.startswith("MIG-") for uuid in pod.gpus["CUDA_VISIBLE_DEVICES"].split(","))
        gpu, mig = (0, 0) if is_mig else (index, None)
        held = peak_bytes(self.gpus / pod.spec.shard, pod.server.pid, gpu=gpu, mig=mig)
        planned = expected_bytes(device)
        return RehearsedDevice(
            device=device.name,
            planned_bytes=planned,
            measured_bytes=used.get(index, 0),
            kept_bytes=0 if before is None else kept_bytes(before, device, quantile=self.quantile),
            planned_peak_bytes=planned + device.start_peak_bytes,
            peak_bytes=None if held is None else held + device.foreign_bytes + self.foreign_bytes,
        )


def _models(use: ShardUse, pod: Pod, asked: Collection[Seat]) -> tuple[RehearsedModel, ...]:
    entries = pod.status()["models"]
    found = []
    with urllib3.PoolManager() as pool:
        for name in sorted(item.placed.model for item in use.occupants):
            entry = entries.get(name)
            if entry is None or not serves_as_planned(entry):
                found.append(_absent(use, name, entry))
                continue
            url = infer_url(pod.server.http_url, name)
            correct = ask(pool, url, QUESTION).correct if (name, use.shard.name) in asked else None
            found.append(
                RehearsedModel(
                    model=name, shard=use.shard.name, endpoint=url, state="Loaded", correct=correct
                )
            )
    return tuple(found)


def _absent(use: ShardUse, model: str, entry: Mapping[str, Any] | None = None) -> RehearsedModel:
    known = entry or {"state": "Pending", "reason": None, "message": None}
    return RehearsedModel(
        model=model,
        shard=use.shard.name,
        endpoint=None,
        state="FailedToLoad" if known["state"] == "Loaded" else known["state"],
        correct=None,
        reason=known["reason"],
        message=known["message"],
    )

"""A plan carried out on this machine before it is carried out for real, and compared with what it says.

Servers, agents, manifests and requests are real; GPUs are simulated, models are stand-ins (``stand_ins``) and
pods are processes (``pods``). A plan that is in force is carried out first and then changed into the other.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from planner.domain.plan import Plan
from planner.domain.scenario import Names, Scenario, names
from planner.errors import Fault, InputError, ShardpackError
from planner.manifests import render_plan, write_manifests
from planner.rehearsal.build import NativeParts, build_native
from planner.rehearsal.changes import Change, Seat, change_of
from planner.rehearsal.cluster import Cluster
from planner.rehearsal.gpus import SimulatedGpu, environment, write_state
from planner.rehearsal.hardware import hardware_faults, simulated_devices
from planner.rehearsal.manifest_reader import PodSpec, pod_specs, read_objects
from planner.rehearsal.observing import Observer, settle
from planner.rehearsal.pods import Pod
from planner.rehearsal.prerequisites import check_prerequisites
from planner.rehearsal.selection import Selection, restricted, select_shards
from planner.rehearsal.stage import stage
from planner.rehearsal.stand_ins import StandIn, stand_in_backend, stand_ins, with_addresses
from planner.rehearsal.triton_files import prepare_triton
from planner.rehearsal.watching import Watch, watching
from planner.report.rehearsal import Absence, Rehearsal, RehearsedChange, RehearsedShard
from planner.report.usage import ShardUse, placement_usage
from planner.report.words import plural

_MOST_ASKED = 40
"""Models that are asked: enough to see each shard, and a light load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearseOptions:
    """How a plan is rehearsed.

    Parameters
    ----------
    only
        Shards that are rehearsed; none is all.
    sample
        Rehearse so many of them; None is all.
    most
        How many shards this machine may hold (``selection.most_shards``).
    foreign_bytes
        What others hold of every GPU beside what the scenario says.
    timeout_s
        How long a shard may take to hold its models.
    folder
        Keeps manifests, documents and logs; None uses a temporary one.
    say
        Takes each line of progress.
    """

    only: tuple[str, ...] = ()
    sample: int | None = None
    most: int
    foreign_bytes: int = 0
    timeout_s: float = 300.0
    folder: Path | None = None
    say: Callable[[str], None] = print


def rehearse(
    scenario: Scenario,
    plan: Plan,
    *,
    before: tuple[Scenario, Plan] | None = None,
    options: RehearseOptions,
) -> Rehearsal:
    """Carry a plan out, look at what comes of it, and stop everything that was started, whatever happens.

    Parameters
    ----------
    scenario, plan
        A plan that ``domain.verify`` accepts for its scenario.
    before
        The plan that is in force, whose names mean something in its scenario; None starts with nothing.
    options
        How.

    Raises
    ------
    InputError
        Something that it needs is not there, or the plan cannot be rehearsed; nothing was begun.
    """
    check_prerequisites(report=None, folder=options.folder, libraries={})
    plans = [*([before] if before else []), (scenario, plan)]
    selection = select_shards(
        [(one, of.placement) for one, of in plans],
        only=options.only,
        sample=options.sample,
        most=options.most,
    )
    acts = [_Act(one, of, selection, foreign_bytes=options.foreign_bytes) for one, of in plans]
    faults = [fault for act in acts for fault in act.faults()]
    if faults:
        raise InputError(faults)
    with stage(options.folder) as (folder, stack):
        return _Rehearsing(options=options, folder=folder, stack=stack, selection=selection).run(acts)


class _Act:
    """One plan, as far as it is rehearsed, and all that follows from it."""

    def __init__(self, scenario: Scenario, plan: Plan, selection: Selection, *, foreign_bytes: int) -> None:
        self.scenario = scenario
        self.parts: Names = names(scenario)
        self.plan = replace(plan, placement=restricted(plan.placement, selection.shards))
        self.shards: dict[str, ShardUse] = {
            use.shard.name: use for use in placement_usage(scenario, self.plan.placement)
        }
        self.stand_ins: dict[str, tuple[StandIn, ...]] = {
            name: stand_ins(use, backends=self.parts.backends, quantile=scenario.policy.quantile)
            for name, use in self.shards.items()
        }
        self.devices: dict[str, tuple[tuple[SimulatedGpu, ...], tuple[str, ...]]] = {
            name: simulated_devices(
                use, self.parts.device_classes[use.shard_type.device_class], foreign_bytes=foreign_bytes
            )
            for name, use in self.shards.items()
        }

    def faults(self) -> Iterable[Fault]:
        """Yield why some shard cannot be rehearsed."""
        for use in self.shards.values():
            yield from hardware_faults(use, self.parts.device_classes[use.shard_type.device_class])

    def copies(self) -> dict[Seat, object]:
        """Return for every replica its files and its shard's devices: if one changes, it is loaded anew."""
        return {
            (one.model, shard): (one.folder, self.devices[shard])
            for shard, found in self.stand_ins.items()
            for one in found
        }

    def specs(self, folder: Path, store: Path) -> dict[str, PodSpec]:
        """Render the manifests into a folder and read them back; their models' files are the stand-ins'."""
        write_manifests(render_plan(self.plan, self.scenario), folder)
        found = {}
        for name, spec in pod_specs(read_objects(folder)).items():
            uris = {one.model: (store / one.folder).as_uri() for one in self.stand_ins[name]}
            limit_bytes = self.scenario.cluster.max_config_map_bytes
            found[name] = with_addresses(spec, uris, max_bytes=limit_bytes)
        return found

    def backends(self) -> set[str]:
        """Return the names of the stand-ins' backends."""
        return {
            stand_in_backend(item.model.backend) for use in self.shards.values() for item in use.occupants
        }


@dataclass(slots=True, kw_only=True)
class _Rehearsing:
    """One rehearsal under way; what is started is stopped by ``stack``."""

    options: RehearseOptions
    folder: Path
    stack: ExitStack
    selection: Selection
    native: NativeParts = field(init=False)
    cluster: Cluster = field(init=False)

    def run(self, acts: list[_Act]) -> Rehearsal:
        """Carry out every act, the last one under watch if it is not the first."""
        self.native = build_native(self.folder / "native")
        backends = sorted(set[str]().union(*(act.backends() for act in acts)))
        home = prepare_triton(self.folder / "servers", native=self.native, simulated=backends)
        self.cluster = Cluster(folder=self.folder / "pods", home=home)
        self.stack.callback(self.cluster.stop)
        first, last = acts[0], acts[-1]
        shards = self._carry_out(first, before=None, last=last is first)
        earlier: tuple[RehearsedShard, ...] = ()
        change = None
        if last is not first:
            earlier = shards
            shards, change = self._change(first, last)
        return Rehearsal(
            models=tuple(model for shard in shards for model in shard.models),
            devices=tuple(device for shard in shards for device in shard.devices),
            shards=shards,
            before=earlier,
            change=change,
            skipped=self.selection.skipped,
            left_out=self.selection.left_out,
        )

    def _carry_out(self, act: _Act, *, before: _Act | None, last: bool) -> tuple[RehearsedShard, ...]:
        """Bring the pods to a plan, wait until nothing is left to do, and look at them."""
        count = sum(len(use.occupants) for use in act.shards.values())
        what = "the plan" if last else "the plan in force"
        self.options.say(
            f"carrying out {what}: {plural(len(act.shards), 'shard')}, {plural(count, 'replica')}"
        )
        self._write_store(act)
        if before is not None:
            self._stop_changed(before, act)
        earlier = {name: (pod, pod.actions()) for name, pod in self.cluster.pods.items()}
        ready: dict[str, float] = {}

        def wait(pod: Pod) -> None:
            seconds = settle(
                pod,
                began_s=max(pod.began_s, began_s),  # who has nothing to change begins now
                timeout_s=self.options.timeout_s,
                broken_off=self.cluster.broken_off,
            )
            ready[pod.spec.shard] = seconds
            self.options.say(f"  {pod.spec.shard}: nothing left to do after {seconds:.1f} s")

        name = "manifests" if before is None else "manifests-after"
        specs = act.specs(self.folder / name, self.folder / "store")
        began_s = time.monotonic()
        failed = self.cluster.apply(specs, gpus=partial(self._gpus, act), then=wait)
        observer = Observer(
            quantile=act.scenario.policy.quantile,
            gpus=self.folder / "gpus",
            foreign_bytes=self.options.foreign_bytes,
        )
        asked = sorted(act.copies())
        asked_now = set(asked[:: max(1, -(-len(asked) // _MOST_ASKED))])
        found = []
        for shard, use in act.shards.items():
            pod = self.cluster.pods.get(shard)
            then, actions = earlier.get(shard, (None, Counter[tuple[str, str]]()))
            goes_on = before is not None and pod is not None and pod is then
            found.append(
                observer.shard(
                    use,
                    pod=pod,
                    before=before.shards[shard] if before is not None and goes_on else None,
                    actions=actions if goes_on else Counter(),
                    ready_s=ready.get(shard),
                    fault=failed.get(shard),
                    asked=asked_now,
                )
            )
        return tuple(found)

    def _stop_changed(self, before: _Act, after: _Act) -> None:
        """Stop the pods that get other devices."""
        pods = self.cluster.pods
        self.cluster.stop([name for name in pods if before.devices[name] != after.devices.get(name)])

    def _change(self, first: _Act, last: _Act) -> tuple[tuple[RehearsedShard, ...], RehearsedChange]:
        """Turn one plan into the other while what should stay is watched."""
        change = change_of(first.plan.placement, last.plan.placement, copies=(first.copies(), last.copies()))
        stay: dict[str, set[str]] = defaultdict(set)
        for model, shard in change.stay | change.move:
            if shard in self.cluster.pods:
                stay[shard].add(model)
        urls = {name: pod.server.http_url for name, pod in self.cluster.pods.items()}
        seats = [seat for seat in (*sorted(change.move), *sorted(change.stay)) if seat[0] in stay[seat[1]]]
        began_s = time.monotonic()
        with watching(stay, sample=seats[:_MOST_ASKED], urls=urls) as watch:
            shards = self._carry_out(last, before=first, last=True)
            seconds = time.monotonic() - began_s
        return shards, _seen(change, watch, first=first, last=last, seconds=seconds)

    def _write_store(self, act: _Act) -> None:
        """Write the stand-ins' files as an object store would hold them."""
        for found in act.stand_ins.values():
            for one in found:
                folder = self.folder / "store" / one.folder
                (folder / "1").mkdir(parents=True, exist_ok=True)
                (folder / "config.pbtxt").write_text(one.config)

    def _gpus(self, act: _Act, shard: str) -> Mapping[str, str] | None:
        """Put a shard's GPUs into a directory of their own: no two shards share a device."""
        devices, uuids = act.devices[shard]
        if not devices:
            return None
        directory = self.folder / "gpus" / shard
        try:
            write_state(directory, devices)
        except InputError as error:
            raise ShardpackError(f"the devices of {shard} cannot be simulated: {error}") from error
        return environment(self.native, directory, visible=uuids)


def _seen(change: Change, watch: Watch, *, first: _Act, last: _Act, seconds: float) -> RehearsedChange:
    return RehearsedChange(
        stayed=len(change.stay),
        moved=len(change.move),
        reloaded=len(change.reload),
        came=len(change.come),
        left=len(change.leave),
        opened=tuple(sorted(last.shards.keys() - first.shards.keys())),
        closed=tuple(sorted(first.shards.keys() - last.shards.keys())),
        seconds=seconds,
        looks=watch.looks,
        absences=tuple(
            Absence(model=model, shard=shard, looks=looks)
            for (model, shard), looks in sorted(watch.absent.items())
            if looks
        ),
        asked=watch.asked,
        unanswered=tuple(watch.unanswered),
    )

"""Why here, why not there, what binds: a plan, a model, a shard and a device explained, as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal

from planner.domain.placement import Placement
from planner.domain.plan import Plan
from planner.domain.rules import UNITS, Rule, Violation
from planner.domain.scenario import Scenario
from planner.domain.services import beside
from planner.errors import Fault, InputError
from planner.online.room import free_room
from planner.report.explanation import (
    Alternative,
    DeviceExplanation,
    Explanation,
    Home,
    Line,
    ModelExplanation,
    Obstacle,
    PlanExplanation,
    Resident,
    ShardExplanation,
    Use,
)
from planner.report.trial import Setting, Trial, make_setting, try_shard, try_shard_type
from planner.report.usage import (
    DeviceUse,
    Occupant,
    ResourceUse,
    ShardUse,
    overall_usage,
    placement_usage,
)
from planner.report.words import refusal_groups, refusal_reason, violation_sentence

SubjectKind = Literal["plan", "model", "shard", "device"]

MOST_SHARDS_TRIED = 400
_MOST_MODELS_TRIED = 500


# ----------------------------------------------------------------------------------------------- entry points


def find_subject(scenario: Scenario, plan: Plan, text: str | None) -> tuple[SubjectKind, str]:
    """Return what a person means by ``sports-en``, ``news-1``, ``news-1/0`` or ``model/sports-en``.

    ``sports-en#1``, as plans and differences show a replica, is its model.

    Raises
    ------
    InputError
        Nothing has this name, or a model and a shard both have it and the kind was not said.
    """
    if text is None:
        return "plan", plan.name
    shards = {shard.name: shard.shard_type for shard in plan.placement.shards}
    counts = {item.name: item.device_count for item in scenario.shard_types}
    known: dict[SubjectKind, set[str]] = {
        "model": {model.name for model in scenario.models},
        "shard": set(shards),
        "device": {f"{name}/{k}" for name, kind in shards.items() for k in range(counts[kind])},
    }
    kind, _, name = text.partition("/")
    for said in ("model", "shard", "device"):
        if kind == said and name in known[said]:
            return said, name
    model, mark, replica = text.partition("#")
    if mark and replica.isdecimal() and model in known["model"]:
        return "model", model
    found = [said for said in known if text in known[said]]
    if len(found) == 1:
        return found[0], text
    if found:
        raise InputError([Fault(path="", message=f"{text!r} is both: write {_or(found, text)}")])
    close = get_close_matches(text, sorted(set().union(*known.values())), n=1)
    hint = f"did you mean {close[0]!r}?" if close else "a device is written as shard/0"
    message = f"the plan has no model, shard or device {text!r}; {hint}"
    raise InputError([Fault(path="", message=message)])


def _or(kinds: Sequence[str], name: str) -> str:
    return " or ".join(f"{kind}/{name}" for kind in kinds)


def explain(scenario: Scenario, plan: Plan, *, kind: SubjectKind, name: str) -> Explanation:
    """Return the explanation of a plan or of something in it.

    Raises
    ------
    KeyError
        The plan has nothing of this kind and name.
    """
    match kind:
        case "plan":
            return explain_plan(scenario, plan)
        case "model":
            return explain_model(scenario, plan, model=name)
        case "shard":
            return explain_shard(scenario, plan, shard=name)
        case "device":
            return explain_device(scenario, plan, device=name)


def explain_plan(scenario: Scenario, plan: Plan) -> PlanExplanation:
    """Return what a plan costs, what binds and what is refused."""
    shards = placement_usage(scenario, plan.placement)
    binding = Counter(shard.binding.rule for shard in shards if shard.binding is not None)
    devices = [device for shard in shards for device in shard.devices]
    return PlanExplanation(
        name=plan.name,
        status=plan.status,
        cost_microusd_per_h=plan.cost_microusd_per_h,
        bound_microusd_per_h=plan.bound.microusd_per_h if plan.bound else None,
        bound_method=plan.bound.method if plan.bound else None,
        shards=len(shards),
        overall=tuple(
            _use(ResourceUse(rule=rule, subject="plan", used=used, capacity=capacity))
            for rule, (used, capacity) in overall_usage(shards).items()
        ),
        binding_shards=tuple(sorted(binding.items(), key=lambda item: (-item[1], item[0]))),
        refusals=tuple(group.sentence() for group in refusal_groups(plan.refusals)),
        saved_at_p50_bytes=sum(saved_at_p50_bytes(device) for device in devices),
        room=free_room(scenario, plan.placement),
    )


def explain_model(
    scenario: Scenario, plan: Plan, *, model: str, most_shards: int = MOST_SHARDS_TRIED
) -> ModelExplanation:
    """Return where a model's replicas are, and what stands against every other place.

    Parameters
    ----------
    most_shards
        Open shards that are tried at most, in the plan's order.
    """
    setting = make_setting(beside(scenario, plan.services), plan.placement)
    own = setting.parts.models[model]
    homes = setting.homes.get(model, ())
    missing = sorted(set(range(own.replicas)) - {placed.replica for placed in homes})
    replica = missing[0] if missing else 0
    here = {placed.shard for placed in homes if placed.replica == replica}
    others = [name for name in setting.shards if name not in here]
    tried = [try_shard(setting, model, replica=replica, shard=name) for name in others[:most_shards]]
    types = [
        try_shard_type(setting, model, replica=replica, shard_type=kind.name) for kind in scenario.shard_types
    ]
    refusals = [refusal for refusal in plan.refusals if refusal.model == model]
    group = setting.groups.get(own.together, ()) if own.together is not None else ()
    return ModelExplanation(
        model=model,
        backend=own.backend,
        replicas=own.replicas,
        moved_with=tuple(item.name for item in group if item.name != model),
        refused=sum(refusal.replicas for refusal in refusals),
        reasons=tuple(refusal_reason(refusal) for refusal in refusals),
        homes=_homes(scenario, plan, setting, model),
        tried_replica=replica,
        shards=tuple(_alternative(trial) for trial in tried),
        shard_types=tuple(_alternative(trial) for trial in types),
        shards_untried=max(0, len(others) - most_shards),
    )


def explain_shard(scenario: Scenario, plan: Plan, *, shard: str) -> ShardExplanation:
    """Return what a shard holds, what each resource has left and the largest model that still fits."""
    found = {use.shard.name: use for use in placement_usage(scenario, plan.placement)}[shard]
    largest, size, untried = _largest_that_fits(
        make_setting(beside(scenario, plan.services), plan.placement), found
    )
    return ShardExplanation(
        shard=shard,
        shard_type=found.shard_type.name,
        runtime=found.shard_type.runtime,
        node=found.shard.node,
        price_microusd_per_h=found.shard_type.price_microusd_per_h,
        residents=tuple(_resident(item) for item in found.occupants),
        resources=tuple(_use(use) for use in found.resources),
        binding=_use(found.binding) if found.binding else None,
        largest_that_fits=largest,
        largest_bytes=size,
        models_untried=untried,
    )


def explain_device(scenario: Scenario, plan: Plan, *, device: str) -> DeviceExplanation:
    """Return the memory account of a device (``news-1/0``), line by line."""
    shards = placement_usage(scenario, plan.placement)
    found, shard_type = {item.name: (item, shard.shard_type) for shard in shards for item in shard.devices}[
        device
    ]
    start = _start_lines(found, shard_type.parallel_loads)
    return DeviceExplanation(
        device=device,
        device_class=found.room.device_class,
        uuid=found.room.uuid,
        is_gpu=found.is_gpu,
        lines=_account(found) if found.is_gpu else (),
        used_bytes=found.used_bytes if found.is_gpu else 0,
        headroom_bytes=found.headroom_bytes,
        left_bytes=found.left_bytes if found.is_gpu else 0,
        total_bytes=found.room.total_bytes,
        start_lines=start,
        start_bytes=found.start_peak_bytes,
        capacity_bytes=found.room.capacity_bytes,
        used_milli=found.used_milli,
        capacity_milli=found.room.capacity_milli,
        saved_at_p50_bytes=saved_at_p50_bytes(found),
    )


# ------------------------------------------------------------------------------------------------ small steps


def saved_at_p50_bytes(device: DeviceUse) -> int:
    """Return the device memory that planning with medians would have saved (0 under a policy of p50)."""
    return sum(
        item.need.steady_bytes - item.median_steady_bytes for item in device.occupants if item.need.on_device
    )


def _use(use: ResourceUse) -> Use:
    return Use(
        rule=use.rule,
        subject=use.subject,
        name=use.name,
        used=use.used,
        capacity=use.capacity,
        left=use.left,
        full_ppm=use.full_ppm,
        unit=UNITS[use.rule],
    )


def _obstacle(violation: Violation) -> Obstacle:
    return Obstacle(
        rule=violation.rule,
        subject=violation.subject,
        need=violation.need,
        have=violation.have,
        unit=UNITS.get(violation.rule),
        sentence=violation_sentence(violation),
    )


def _alternative(trial: Trial) -> Alternative:
    return Alternative(
        target=trial.target,
        opens=trial.opens,
        extra_microusd_per_h=trial.extra_microusd_per_h,
        obstacles=tuple(_obstacle(item) for item in trial.obstacles),
    )


def _resident(item: Occupant) -> Resident:
    return Resident(
        model=item.placed.model,
        replica=item.placed.replica,
        devices=item.placed.devices,
        steady_bytes=item.need.steady_bytes,
        device_milli=item.need.device_milli,
        cpu_milli=item.need.cpu_milli,
        memory_bytes=item.need.memory_bytes,
    )


def _homes(scenario: Scenario, plan: Plan, setting: Setting, model: str) -> tuple[Home, ...]:
    wanted = {placed.shard for placed in setting.homes.get(model, ())}
    small = Placement(
        shards=tuple(shard for shard in plan.placement.shards if shard.name in wanted),
        placed=tuple(placed for placed in plan.placement.placed if placed.shard in wanted),
    )
    return tuple(
        _home(use, item)
        for use in placement_usage(scenario, small)
        for item in use.occupants
        if item.model.name == model
    )


def _home(shard: ShardUse, item: Occupant) -> Home:
    return Home(
        replica=item.placed.replica,
        shard=shard.shard.name,
        shard_type=shard.shard_type.name,
        node=shard.shard.node,
        devices=item.placed.devices,
        device_class=item.option.device_class,
        batch=item.option.batch,
        instances=item.option.instances,
        source=item.option.source,
        shard_models=len(shard.occupants),
        price_microusd_per_h=shard.shard_type.price_microusd_per_h,
        takes=_takes(shard, item),
    )


def _takes(shard: ShardUse, item: Occupant) -> tuple[Use, ...]:
    """Return what a replica itself takes of each resource of its shard, the largest share first."""
    own = {
        Rule.DEVICE_MEMORY: item.need.steady_bytes if item.need.on_device else 0,
        Rule.DEVICE_TIME: item.need.device_milli,
        Rule.CPU: item.need.cpu_milli,
        Rule.HOST_MEMORY: item.need.memory_bytes,
        Rule.DISK: item.need.disk_bytes,
    }
    first = shard.devices[item.placed.devices[0]].name
    uses = (
        ResourceUse(rule=use.rule, subject=use.subject, used=own[use.rule], capacity=use.capacity)
        for use in shard.resources
        if use.rule in own and use.subject in (first, shard.shard.name)
    )
    return tuple(_use(use) for use in sorted(uses, key=lambda use: -use.full_ppm) if use.used)


def _account(device: DeviceUse) -> tuple[Line, ...]:
    fixed = (
        Line(what="reserved by the driver", size_bytes=device.reserved_bytes),
        Line(what="CUDA context of the server", size_bytes=device.context_bytes),
        Line(what="memory pool of the server", size_bytes=device.pool_bytes),
        Line(what="foreign processes", size_bytes=device.foreign_bytes),
    )
    bases = tuple(Line(what=f"base of {name}", size_bytes=size) for name, size in device.bases)
    using = sorted(
        (item for item in device.occupants if item.need.on_device),
        key=lambda item: (-item.need.steady_bytes, item.placed),
    )
    return fixed + bases + tuple(Line(what=_label(item), size_bytes=item.need.steady_bytes) for item in using)


def _start_lines(device: DeviceUse, parallel_loads: int) -> tuple[Line, ...]:
    surplus = sorted(
        (
            Line(what=_label(item), size_bytes=item.need.load_peak_bytes - item.need.steady_bytes)
            for item in device.occupants
            if device.is_gpu and item.need.on_device
        ),
        key=lambda line: (-line.size_bytes, line.what),
    )
    return tuple(line for line in surplus[:parallel_loads] if line.size_bytes)


def _label(item: Occupant) -> str:
    return f"{item.placed.model}#{item.placed.replica}"


def _largest_that_fits(setting: Setting, shard: ShardUse) -> tuple[str | None, int | None, int]:
    """Return the largest model that could join a shard, its bytes, and how many were left untried."""
    on_gpu = any(device.is_gpu for device in shard.devices)
    here = {item.model.name for item in shard.occupants}
    quantile = setting.scenario.policy.quantile
    room = max((device.left_bytes for device in shard.devices if device.is_gpu), default=0)
    memory = next((use.left for use in shard.host if use.rule is Rule.HOST_MEMORY), 0)

    def size(name: str) -> int:
        options = setting.parts.models[name].footprints
        return min((o.steady_bytes if on_gpu else o.memory_bytes).at(quantile) for o in options)

    sized = sorted(((size(name), name) for name in setting.parts.models if name not in here), reverse=True)
    small = [(bytes_, name) for bytes_, name in sized if bytes_ <= (room if on_gpu else memory)]
    for bytes_, name in small[:_MOST_MODELS_TRIED]:
        placed = {item.replica for item in setting.homes.get(name, ())}
        replica = next((k for k in range(setting.parts.models[name].replicas) if k not in placed), 0)
        if try_shard(setting, name, replica=replica, shard=shard.shard.name).fits:
            return name, bytes_, 0
    return None, None, max(0, len(small) - _MOST_MODELS_TRIED)

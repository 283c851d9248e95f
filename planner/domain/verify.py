"""The specification: every violation of every rule by a plan, found without the solver's help.

One function states one rule (or one family that shares its sums) and returns violations as data. The solver
may know a rule only after it stands here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from planner.domain.canonical import sha256_of
from planner.domain.fleet import ShardType, Transformer
from planner.domain.memory import (
    Need,
    ShardRoom,
    models_json_entry_bytes,
    need,
    node_devices,
    shard_room,
    start_peak_bytes,
)
from planner.domain.model import Model, stands_for
from planner.domain.placement import Placed, Placement, Shard, parents
from planner.domain.plan import Plan
from planner.domain.references import find_broken_references, find_broken_services
from planner.domain.rules import Rule, Violation
from planner.domain.scenario import Names, Scenario, names
from planner.domain.services import (
    Service,
    service_name,
    services_microusd_per_h,
    services_pods,
    used_services,
)


class _Resident(NamedTuple):
    """A placed replica with what it is, what it needs and whether its shard is the model's parent."""

    placed: Placed
    model: Model
    need: Need
    is_parent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """An open shard with its type, what it offers and who lives in it."""

    shard: Shard
    shard_type: ShardType
    room: ShardRoom
    residents: tuple[_Resident, ...]

    def on_device(self, index: int) -> tuple[_Resident, ...]:
        """Return who is on a device."""
        if len(self.room.devices) == 1:  # where else, if every name means something
            return self.residents
        return tuple(item for item in self.residents if index in item.placed.devices)


# --------------------------------------------------------------------------------------------- entry points


def verify(scenario: Scenario, plan: Plan, *, scenario_sha256: str | None = None) -> tuple[Violation, ...]:
    """Return every rule that a plan breaks; empty means that the plan is legal and its figures are true.

    Parameters
    ----------
    scenario, plan
        What is verified against what.
    scenario_sha256
        The scenario's hash, where the caller has just reckoned it: of a large one that takes its time.
    """
    broken = list(verify_placement(scenario, plan.placement, plan.services))
    if plan.scenario_sha256 != (scenario_sha256 or sha256_of(scenario)):
        broken.append(
            Violation(rule=Rule.REFERENCE, subject="scenario", detail="the plan is of another scenario")
        )
    for what in ("name", "namespace"):
        told, right = getattr(plan, what), getattr(scenario, what)
        if told != right:
            detail = f"the plan says {told!r}, its scenario {right!r}"
            broken.append(Violation(rule=Rule.REFERENCE, subject=what, detail=detail))
    broken.extend(_accounted(scenario, plan))
    broken.extend(_figures(scenario, plan))
    return tuple(broken)


def verify_placement(
    scenario: Scenario, placement: Placement, services: Sequence[Service] | None = None
) -> tuple[Violation, ...]:
    """Return every rule that a placement breaks, whatever it leaves unplaced.

    Parameters
    ----------
    scenario, placement
        What is verified against what.
    services
        The transformers that stand beside it; None asks for none and looks for none.
    """
    parts = names(scenario)
    broken = list(find_broken_references(parts, placement))
    broken.extend(find_broken_services(parts, services or ()))
    if broken:  # the sums below need every name to mean something
        return tuple(broken)
    shards = _open_shards(scenario, parts, placement)
    for shard in shards:
        for rule in _SHARD_RULES:
            broken.extend(rule(shard, scenario, parts))
    for placement_rule in _PLACEMENT_RULES:
        broken.extend(placement_rule(shards, scenario, parts))
    for limit_rule in _LIMIT_RULES:
        broken.extend(limit_rule(shards, services or (), scenario, parts))
    if services is not None:
        broken.extend(services_in_use(services, scenario, placement))
    return tuple(broken)


def cost_microusd_per_h(scenario: Scenario, placement: Placement, services: Iterable[Service] = ()) -> int:
    """Return what a placement's shards and the services beside it cost for an hour, in micro-USD."""
    prices = {shard_type.name: shard_type.price_microusd_per_h for shard_type in scenario.shard_types}
    shards = sum(prices[shard.shard_type] for shard in placement.shards)
    return shards + services_microusd_per_h(scenario, services)


def _open_shards(scenario: Scenario, parts: Names, placement: Placement) -> tuple[_Open, ...]:
    residents: dict[str, list[_Resident]] = defaultdict(list)
    types = {shard.name: parts.shard_types[shard.shard_type] for shard in placement.shards}
    first, needs = parents(placement.placed), dict[tuple[str, int, str], Need]()
    for placed in placement.placed:
        model, runtime = parts.models[placed.model], types[placed.shard].runtime
        key = placed.model, placed.option, runtime  # replicas need the same where they run the same way
        if key not in needs:
            needs[key] = need(
                model.footprints[placed.option],
                backend=parts.backends[model.backend],
                runtime=parts.runtimes[runtime],
                quantile=scenario.policy.quantile,
            )
        is_parent = first[placed.model] is placed
        residents[placed.shard].append(_Resident(placed, model, needs[key], is_parent))
    return tuple(
        _Open(
            shard=shard,
            shard_type=types[shard.name],
            room=shard_room(
                types[shard.name],
                parts,
                policy=scenario.policy,
                max_config_map_bytes=scenario.cluster.max_config_map_bytes,
                devices=node_devices(shard, parts.nodes),
            ),
            residents=tuple(residents[shard.name]),
        )
        for shard in placement.shards
    )


# ----------------------------------------------------------------------------------------- rules on a shard


def _over(rule: Rule, subject: str, need: int, have: int, detail: str = "") -> Iterator[Violation]:
    if need > have:
        yield Violation(rule=rule, subject=subject, need=need, have=have, detail=detail)


def device_memory(opened: _Open, scenario: Scenario, parts: Names) -> Iterator[Violation]:
    """On every GPU what is fixed, the backends' bases and the steady footprints fit; so does the start."""
    del scenario
    if parts.device_classes[opened.shard_type.device_class].kind == "cpu":
        return
    for index, room in enumerate(opened.room.devices):
        using = tuple(item for item in opened.on_device(index) if item.need.on_device)
        backends = {item.model.backend for item in using}
        bases = sum(parts.backends[backend].device_base_bytes for backend in backends)
        steady = room.fixed_bytes + bases + sum(item.need.steady_bytes for item in using)
        peak = start_peak_bytes(
            (item.need for item in using), parallel_loads=opened.shard_type.parallel_loads
        )
        subject = f"{opened.shard.name}/{index}"
        if not using:  # an idle device breaks nothing, even where a foreign process fills it
            continue
        yield from _over(Rule.DEVICE_MEMORY, subject, steady, room.capacity_bytes)
        if steady <= room.capacity_bytes:
            yield from _over(Rule.STARTABLE, subject, steady + peak, room.capacity_bytes)


def device_time(opened: _Open, scenario: Scenario, parts: Names) -> Iterator[Violation]:
    """On every GPU the shares of its time fit (the time of a CPU shard is the rule ``cpu``)."""
    del scenario
    if parts.device_classes[opened.shard_type.device_class].kind == "cpu":
        return
    for index, room in enumerate(opened.room.devices):
        used = sum(item.need.device_milli for item in opened.on_device(index))
        yield from _over(Rule.DEVICE_TIME, f"{opened.shard.name}/{index}", used, room.capacity_milli)


def exclusive_devices(opened: _Open, scenario: Scenario, parts: Names) -> Iterator[Violation]:
    """A replica on several devices has them for itself."""
    del scenario, parts
    for index in range(len(opened.room.devices)):
        here = opened.on_device(index)
        if len(here) > 1 and any(item.model.devices_per_replica > 1 for item in here):
            yield Violation(
                rule=Rule.EXCLUSIVE_DEVICES,
                subject=f"{opened.shard.name}/{index}",
                need=len(here),
                have=1,
                detail=", ".join(sorted(item.model.name for item in here)),
            )


def host_resources(opened: _Open, scenario: Scenario, parts: Names) -> Iterator[Violation]:
    """CPU, host memory (with every backend's base once), disk and named resources of the shard fit."""
    del scenario
    subject, room, needs = opened.shard.name, opened.room, [item.need for item in opened.residents]
    backends = {item.model.backend for item in opened.residents}
    base_bytes = sum(parts.backends[backend].host_base_bytes for backend in backends)
    yield from _over(Rule.CPU, subject, sum(item.cpu_milli for item in needs), room.cpu_milli)
    if needs:
        memory = base_bytes + sum(item.memory_bytes for item in needs)
        yield from _over(Rule.HOST_MEMORY, subject, memory, room.memory_bytes)
    if room.disk_bytes is not None:
        yield from _over(Rule.DISK, subject, sum(item.disk_bytes for item in needs), room.disk_bytes)
    wanted: Counter[str] = Counter()
    for item in needs:
        if item.extra:
            wanted.update(item.extra)
    for resource, amount in sorted(wanted.items()):
        yield from _over(Rule.EXTRA, subject, amount, room.extra.get(resource, 0), resource)


def shard_contents(opened: _Open, scenario: Scenario, parts: Names) -> Iterator[Violation]:
    """How many models, how long a ``models.json``, whose models, for which server and device class."""
    subject = opened.shard.name
    if opened.room.max_models is not None:
        yield from _over(Rule.MAX_MODELS, subject, len(opened.residents), opened.room.max_models)
    entries = sum(models_json_entry_bytes(item.model) for item in opened.residents if item.is_parent)
    yield from _over(Rule.CONFIG_MAP, subject, entries, opened.room.models_json_bytes)
    tenants = {item.model.tenant for item in opened.residents}
    if scenario.policy.isolate_tenants:
        yield from _over(Rule.TENANTS, subject, len(tenants), 1, ", ".join(sorted(map(str, tenants))))
    served = parts.runtimes[opened.shard_type.runtime].backends
    device_class = parts.device_classes[opened.shard_type.device_class]
    for item in opened.residents:
        if served is not None and item.model.backend not in served:
            yield Violation(
                rule=Rule.RUNTIME,
                subject=_label(item.placed),
                detail=f"{opened.shard_type.runtime} has no {item.model.backend}",
            )
        if not stands_for(item.model, item.placed.option, device_class):
            yield Violation(rule=Rule.DEVICE_CLASS, subject=_label(item.placed), detail=device_class.name)
    doubled = Counter([item.model.name for item in opened.residents])
    for model, count in sorted(doubled.items()):
        yield from _over(Rule.SPREAD, model, count, 1, f"a server holds a name once: {subject}")


def _label(placed: Placed) -> str:
    return f"{placed.model}#{placed.replica}"


_ShardRule = Callable[[_Open, Scenario, Names], Iterator[Violation]]
_SHARD_RULES: tuple[_ShardRule, ...] = (
    device_memory,
    device_time,
    exclusive_devices,
    host_resources,
    shard_contents,
)


# ------------------------------------------------------------------------ rules between shards and models


def domain_of(shard: Shard, scenario: Scenario, parts: Names) -> str | None:
    """Return the failure domain of a shard under the policy's spread; None when its zone is not known.

    A shard that is bought stands on machines of its own, so its node is itself.
    """
    match scenario.policy.spread:
        case "zone":
            node = parts.nodes.get(shard.node) if shard.node else None
            return node.zone if node else parts.shard_types[shard.shard_type].zone
        case "node":
            return f"node:{shard.node}" if shard.node else f"shard:{shard.name}"
        case "shard" | "none":
            return f"shard:{shard.name}"


def spread(shards: Sequence[_Open], scenario: Scenario, parts: Names) -> Iterator[Violation]:
    """No two replicas of a model share a failure domain; shards of unknown zone all share one."""
    domains: dict[str, list[str | None]] = defaultdict(list)
    for opened in shards:
        domain = domain_of(opened.shard, scenario, parts)
        for item in opened.residents:
            domains[item.model.name].append(domain)
    for model, where in sorted(domains.items()):
        if len(set(where)) < len(where):
            yield Violation(
                rule=Rule.SPREAD,
                subject=model,
                need=len(where),
                have=len(set(where)),
                detail=scenario.policy.spread,
            )


def together(shards: Sequence[_Open], scenario: Scenario, parts: Names) -> Iterator[Violation]:
    """Models with the same key share a shard, replica by replica: all of them or none."""
    del parts
    members = Counter(model.together for model in scenario.models if model.together is not None)
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for opened in shards:
        for item in opened.residents:
            if item.model.together is not None:
                found[item.model.together, item.placed.replica].append(opened.shard.name)
    for (key, replica), where in sorted(found.items()):
        if len(set(where)) > 1 or len(where) != members[key]:
            detail = f"{len(where)} of {members[key]} models, on {', '.join(sorted(set(where)))}"
            yield Violation(rule=Rule.TOGETHER, subject=f"{key}#{replica}", detail=detail)


def pins(shards: Sequence[_Open], scenario: Scenario, parts: Names) -> Iterator[Violation]:
    """Replica 0 of a pinned model is where its pin says."""
    del scenario, parts
    for opened in shards:
        for item in opened.residents:
            pin = item.model.pin
            if pin is None or item.placed.replica != 0:
                continue
            if pin.shard != opened.shard.name or (
                pin.device is not None and pin.device not in item.placed.devices
            ):
                at = f"{opened.shard.name}/{item.placed.devices[0]}"
                yield Violation(
                    rule=Rule.PIN, subject=item.model.name, detail=f"wants {pin.shard}, is on {at}"
                )


def counts(
    shards: Sequence[_Open], services: Sequence[Service], scenario: Scenario, parts: Names
) -> Iterator[Violation]:
    """Shards of each type and in all, addresses of all pods and the price of all stay within the limits."""
    del parts
    opened = Counter(item.shard_type.name for item in shards)
    for shard_type in scenario.shard_types:
        count = opened[shard_type.name]
        if count < shard_type.min_count:
            yield Violation(
                rule=Rule.MIN_COUNT, subject=shard_type.name, need=shard_type.min_count, have=count
            )
        if shard_type.max_count is not None:
            yield from _over(Rule.MAX_COUNT, shard_type.name, count, shard_type.max_count)
    pods = sum(item.shard_type.replicas for item in shards) + services_pods(scenario, services)
    price = sum(item.shard_type.price_microusd_per_h for item in shards)
    price += services_microusd_per_h(scenario, services)
    for rule, used, limit in (
        (Rule.IPS, pods, scenario.cluster.max_ips),
        (Rule.MAX_SHARDS, len(shards), scenario.policy.max_shards),
        (Rule.MAX_COST, price, scenario.policy.max_usd_per_h_microusd),
    ):
        if limit is not None:
            yield from _over(rule, "plan", used, limit)


def on_nodes(
    shards: Sequence[_Open], services: Sequence[Service], scenario: Scenario, parts: Names
) -> Iterator[Violation]:
    """Every node has the labels, CPU, memory, pods and free devices that its shards and services ask for."""
    by_node: dict[str, list[_Open]] = defaultdict(list)
    for opened in shards:
        if opened.shard.node is not None:
            by_node[opened.shard.node].append(opened)
    beside: dict[str, list[Transformer]] = defaultdict(list)
    for service in services:
        for name in service.nodes:
            beside[name].append(parts.transformers[service.transformer])
    for name in sorted(by_node.keys() | beside.keys()):
        node, here = parts.nodes[name], by_node[name]
        pods: list[ShardType | Transformer] = [*(item.shard_type for item in here), *beside[name]]
        most = node.pods if node.pods is not None else scenario.cluster.max_pods_per_node
        yield from _over(Rule.NODE_CPU, name, sum(item.cpu_milli for item in pods), node.cpu_milli)
        yield from _over(Rule.NODE_MEMORY, name, sum(item.memory_bytes for item in pods), node.memory_bytes)
        yield from _over(Rule.NODE_PODS, name, len(pods), max(0, most - node.pods_in_use))
        yield from _devices_on_node(name, here, parts)
        labels = dict(node.labels)
        for item in here:
            missing = [
                f"{key}={value}" for key, value in item.shard_type.node_selector if labels.get(key) != value
            ]
            if missing:
                yield Violation(
                    rule=Rule.NODE_SELECTOR,
                    subject=item.shard.name,
                    detail=f"{name} lacks {', '.join(missing)}",
                )


def _devices_on_node(name: str, here: Iterable[_Open], parts: Names) -> Iterator[Violation]:
    taken: Counter[int] = Counter()
    for item in here:
        taken.update(item.shard.node_devices)
        for position in item.shard.node_devices:
            found = parts.nodes[name].devices[position].device_class
            if found != item.shard_type.device_class:
                yield Violation(
                    rule=Rule.NODE_DEVICES, subject=item.shard.name, detail=f"device {position} is a {found}"
                )
    for position, count in sorted(taken.items()):
        yield from _over(Rule.NODE_DEVICES, f"{name}/{position}", count, 1)


_PlacementRule = Callable[[Sequence[_Open], Scenario, Names], Iterator[Violation]]
_PLACEMENT_RULES: tuple[_PlacementRule, ...] = (spread, together, pins)
_LimitRule = Callable[[Sequence[_Open], Sequence[Service], Scenario, Names], Iterator[Violation]]
_LIMIT_RULES: tuple[_LimitRule, ...] = (counts, on_nodes)


# ------------------------------------------------------------------------------------- rules on services


def services_in_use(
    services: Sequence[Service], scenario: Scenario, placement: Placement
) -> Iterator[Violation]:
    """What placed models pass through stands once in each of their groups, and nothing else does."""
    used = set(used_services(scenario, placement))
    standing = Counter((item.group, item.transformer) for item in services)
    pods = {item.name: item.replicas for item in scenario.transformers}
    for group, transformer in sorted(used - standing.keys()):
        detail = f"models of group {group!r} name it, and it does not stand"
        name = service_name(group, transformer)
        yield Violation(rule=Rule.SERVICE, subject=name, need=pods[transformer], have=0, detail=detail)
    for group, transformer in sorted(standing.keys() - used):
        detail = f"no model that is placed in group {group!r} names it"
        yield Violation(rule=Rule.SERVICE, subject=service_name(group, transformer), detail=detail)
    for (group, transformer), count in sorted(standing.items()):
        detail = "it stands more than once"
        name, once = service_name(group, transformer), pods[transformer]
        yield from _over(Rule.SERVICE, name, count * once, once, detail)


# --------------------------------------------------------------------------------- rules on the plan itself


def _accounted(scenario: Scenario, plan: Plan) -> Iterator[Violation]:
    """Every replica of every model is either placed or refused, once."""
    placed = Counter(item.model for item in plan.placement.placed)
    refused: Counter[str] = Counter()
    for refusal in plan.refusals:
        refused[refusal.model] += refusal.replicas
    for model in scenario.models:
        total = placed[model.name] + refused[model.name]
        if total != model.replicas:
            detail = f"{placed[model.name]} placed, {refused[model.name]} refused"
            yield Violation(
                rule=Rule.ACCOUNTED, subject=model.name, need=model.replicas, have=total, detail=detail
            )
    known = {model.name for model in scenario.models}
    for name in sorted(set(refused) - known):
        yield Violation(
            rule=Rule.REFERENCE, subject=name, detail="refused, but the scenario has no such model"
        )


def _figures(scenario: Scenario, plan: Plan) -> Iterator[Violation]:
    """The cost is the sum of the prices, and neither bound is above what it bounds."""
    known = {shard_type.name for shard_type in scenario.shard_types}
    means = {item.name for item in scenario.transformers}
    if all(shard.shard_type in known for shard in plan.placement.shards) and all(
        service.transformer in means for service in plan.services
    ):
        cost = cost_microusd_per_h(scenario, plan.placement, plan.services)
        if cost != plan.cost_microusd_per_h:
            yield Violation(rule=Rule.COST, subject="plan", need=cost, have=plan.cost_microusd_per_h)
    bound = plan.bound.microusd_per_h if plan.bound else None
    if bound is not None:
        yield from _over(Rule.BOUND, "plan", bound, plan.cost_microusd_per_h, "bound above cost")
    if plan.moves is not None:
        yield from _over(Rule.BOUND, "moves", plan.moves.at_least, plan.moves.count, "bound above moves")
    yield from _unproven(plan)
    if plan.status == "optimal" and (bound is None or bound < plan.cost_microusd_per_h):
        yield Violation(
            rule=Rule.BOUND,
            subject="plan",
            need=plan.cost_microusd_per_h,
            have=bound,
            detail="called optimal",
        )


def _unproven(plan: Plan) -> Iterator[Violation]:
    """A status that claims a proof is not contradicted by what is placed and refused."""
    if plan.status == "infeasible" and plan.placement.placed:
        yield Violation(
            rule=Rule.BOUND, subject="status", detail="called infeasible, but replicas are placed"
        )
    if plan.status != "feasible" and not all(refusal.proven for refusal in plan.refusals):
        detail = f"called {plan.status}, but not every refusal is proven"
        yield Violation(rule=Rule.BOUND, subject="status", detail=detail)

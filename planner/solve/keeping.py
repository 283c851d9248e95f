"""Staying close to an earlier plan: what of it still holds, what changed against it, and its names again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from types import MappingProxyType

from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.references import in_group
from planner.solve.openings import Opening, Openings
from planner.solve.packing import Packing, Resident
from planner.solve.problem import Problem


def packing_from(problem: Problem, base: Placement) -> Packing:
    """Return a packing with all of an earlier placement that is legal now, under the same names.

    The fullest shards come first, then the highest priorities, where not everything can stay.
    """
    packing = Packing(problem)

    def opened(shard: Shard) -> int | None:
        opening = opening_like(packing.openings, shard)
        return None if opening is None else packing.open(opening, name=shard.name)

    _take_over(packing, base, opened)
    return packing


def packing_like(problem: Problem, other: Placement, zones: Mapping[str, str | None]) -> Packing:
    """Return a packing with all that is legal of a placement that was made for something like the problem.

    Only shards that something is pinned to keep their names. Those on nodes stand where they did; of those
    that were bought, each where there is room for it, those with most devices first. ``zones`` has the zone
    of these, by name, that need a certain one.
    """
    packing, scenario = Packing(problem), problem.scenario
    types = {item.name: index for index, item in enumerate(scenario.shard_types)}
    nodes = {item.name: index for index, item in enumerate(scenario.nodes)}
    pinned = {model.pin.shard for model in scenario.models if model.pin}

    def is_there(opening: Opening, shard: Shard) -> bool:
        node = opening.node
        return node is None or shard.name not in zones or scenario.nodes[node].zone == zones[shard.name]

    def opened(shard: Shard) -> int | None:
        index = types[shard.shard_type]
        if shard.node is None:
            found = packing.openings.candidates(index)
            opening = next((item for item in found if is_there(item, shard)), None)
        else:
            opening = _stood(packing.openings, index, nodes[shard.node], shard.node_devices)
        name = shard.name if shard.name in pinned else None
        return None if opening is None else packing.open(opening, name=name)

    devices = {
        shard.name: scenario.shard_types[types[shard.shard_type]].device_count for shard in other.shards
    }
    _take_over(packing, other, opened, first=devices)
    return packing


def _take_over(
    packing: Packing,
    other: Placement,
    opened: Callable[[Shard], int | None],
    first: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Open the shards of a placement, and put into them what may be there.

    ``first`` are numbers by name: shards with the larger ones come first, then the fullest.
    """
    problem = packing.problem
    on_shard: dict[str, list[Placed]] = defaultdict(list)
    for placed in other.placed:
        on_shard[placed.shard].append(placed)
    rows = {}
    order = sorted(
        other.shards, key=lambda shard: (-first.get(shard.name, 0), -len(on_shard[shard.name]), shard.name)
    )
    for shard in order:
        row = opened(shard)
        if row is not None:
            rows[shard.name] = row
    units = _units_of(problem, on_shard)
    for unit in sorted(units, key=lambda item: (-problem.units[item].priority, item)):
        name, residents = units[unit]
        if name in rows and all(_has_seat(packing, rows[name], resident) for resident, _ in residents):
            packing.restore(unit, rows[name], [_in_mode(packing, rows[name], item) for item in residents])
    close_empty(packing)


def _stood(openings: Openings, shard_type: int, node: int, devices: tuple[int, ...]) -> Opening | None:
    """Return the opening of a shard that stood on some devices of a node, if it still fits there."""
    fits = openings.limit(shard_type) is None
    return openings.on_node(shard_type, node, devices) if fits else None


def opening_like(openings: Openings, shard: Shard) -> Opening | None:
    """Return the opening of an earlier shard if its type, node and devices are still there."""
    scenario = openings.problem.scenario
    index = next((i for i, item in enumerate(scenario.shard_types) if item.name == shard.shard_type), None)
    if index is None or not in_group(shard.name, scenario.shard_types[index].group):
        return None
    if openings.limit(index) is not None:
        return None
    if scenario.shard_types[index].provision == "new":
        return None if shard.node is not None else next(iter(openings.candidates(index)), None)
    node = next((i for i, item in enumerate(scenario.nodes) if item.name == shard.node), None)
    return None if node is None else openings.on_node(index, node, shard.node_devices)


def _units_of(
    problem: Problem, on_shard: dict[str, list[Placed]]
) -> dict[int, tuple[str, list[tuple[Resident, int]]]]:
    """Return the shard and the residents of every unit that was whole in one shard; with their options."""
    where = {
        (placed.model, placed.replica): placed for residents in on_shard.values() for placed in residents
    }
    models = problem.scenario.models
    found = {}
    for index, unit in enumerate(problem.units):
        old = [where.get((models[model].name, unit.replica)) for model in unit.members]
        known = [item for item in old if item is not None]
        if len(known) == len(old) and len({item.shard for item in known}) == 1:
            residents = [
                (Resident(unit=index, model=model, rank=0, devices=item.devices), item.option)
                for model, item in zip(unit.members, known, strict=True)
            ]
            found[index] = (known[0].shard, residents)
    return found


def has_devices(model: Model, devices: tuple[int, ...], opening: Opening) -> bool:
    """Return whether a shard has devices of an earlier plan, and they are as many as a model wants now."""
    there = all(0 <= device < len(opening.rooms) for device in devices)
    return there and len(set(devices)) == len(devices) == model.devices_per_replica


def _has_seat(packing: Packing, row: int, resident: Resident) -> bool:
    """Return whether a resident may be on its devices if there is room: they are there, and its pin's."""
    problem = packing.problem
    model = problem.scenario.models[resident.model]
    pin = model.pin if problem.units[resident.unit].replica == 0 else None
    kept = pin is None or pin.device is None or pin.device in resident.devices
    return kept and has_devices(model, resident.devices, packing.opened[row])


def _in_mode(packing: Packing, row: int, item: tuple[Resident, int]) -> Resident:
    """Return a resident in the mode of its earlier option, the smallest if that is not one any more."""
    resident, option = item
    problem, shard_type = packing.problem, int(packing.type_of[row])
    kind = int(problem.kind[resident.model])
    for rank, mode in enumerate(problem.modes):
        if mode.allowed[kind, shard_type] and mode.option[kind, shard_type] == option:
            return Resident(unit=resident.unit, model=resident.model, rank=rank, devices=resident.devices)
    return resident


def close_empty(packing: Packing) -> None:
    """Close the empty shards that no ``minCount`` asks for."""
    types = packing.problem.scenario.shard_types
    for row in reversed(packing.open_rows()):
        shard_type = packing.opened[row].shard_type
        spare = packing.openings.counts[shard_type] > types[shard_type].min_count
        if not packing.residents[row] and spare:
            packing.close(row)


def release_names(packing: Packing) -> None:
    """Let shards be closed and named anew, but for those that something is pinned to."""
    pinned = {model.pin.shard for model in packing.problem.scenario.models if model.pin}
    packing.names = [name if name in pinned else None for name in packing.names]


def has_lost(packing: Packing, base: Placement) -> bool:
    """Return whether something of an earlier placement that the scenario still knows is not in a packing."""
    known = {(item.model, item.replica) for item in base.placed}
    problem = packing.problem
    return any(
        row is None
        and any((problem.scenario.models[model].name, one.replica) in known for model in one.members)
        for one, row in zip(problem.units, packing.row_of_unit, strict=True)
    )


def take_names(packing: Packing, base: Placement) -> None:
    """Give shards without a name that of the earlier shard which shares most of their residents."""
    problem = packing.problem
    was = {(item.model, item.replica): item.shard for item in base.placed}
    pinned = {model.pin.shard for model in problem.scenario.models if model.pin}
    known = {shard.name for shard in base.shards} - pinned
    used = {name for row in packing.open_rows() if (name := packing.names[row]) is not None}
    pairs = []
    for row in packing.open_rows():
        if packing.names[row] is None:
            keys = (
                (problem.scenario.models[r.model].name, problem.units[r.unit].replica)
                for r in packing.residents[row]
            )
            common = Counter(was[key] for key in keys if key in was)
            pairs += [(-count, row, name) for name, count in common.items() if name in known]
    for _, row, name in sorted(pairs):
        group = problem.scenario.shard_types[packing.opened[row].shard_type].group
        if packing.names[row] is None and name not in used and in_group(name, group):
            packing.names[row] = name
            used.add(name)

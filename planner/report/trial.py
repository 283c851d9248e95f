"""What if this replica were there instead? Every answer comes from ``domain.verify``, not from the solver.

A trial moves one replica of a model (with its whole ``together`` group) to another shard, or to a shard that
would be opened for it, and returns the rules that this newly breaks. Only the shards concerned are put before
``verify_placement``, so that a trial costs the same in a plan of ten shards and in one of ten thousand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, islice
from itertools import count as count_from

from planner.domain.fleet import Node, ShardType
from planner.domain.memory import device_room
from planner.domain.model import Model, options_for
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.rules import Rule, Violation
from planner.domain.scenario import Names, Scenario, names
from planner.domain.verify import verify_placement

_MOST_SEATS = 64
_MOST_NODES = 50
_ENDS_WITH_ROOM = frozenset({Rule.NODE_DEVICES, Rule.NODE_CPU, Rule.NODE_MEMORY, Rule.NODE_PODS})
"""Rules that a shard breaks because others are on its node, and that end with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What became of one replica somewhere else.

    Parameters
    ----------
    target
        The shard's name; for a shard that would be opened, the shard type's.
    opens
        Whether a shard would have to be opened.
    extra_microusd_per_h
        What the plan would cost more.
    obstacles
        The rules that would newly be broken; empty means that it fits.
    """

    target: str
    opens: bool
    extra_microusd_per_h: int
    obstacles: tuple[Violation, ...]

    @property
    def fits(self) -> bool:
        """Return whether nothing stands against it."""
        return not self.obstacles


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A scenario and a placement, indexed for trials."""

    scenario: Scenario
    parts: Names
    shards: Mapping[str, Shard]
    residents: Mapping[str, tuple[Placed, ...]]
    homes: Mapping[str, tuple[Placed, ...]]
    groups: Mapping[str, tuple[Model, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """A replica of some models, all of which go to one shard."""

    movers: tuple[Model, ...]
    replica: int
    target: Shard


def make_setting(scenario: Scenario, placement: Placement) -> Setting:
    """Return a setting; the placement's names must mean something."""
    residents: dict[str, list[Placed]] = defaultdict(list)
    homes: dict[str, list[Placed]] = defaultdict(list)
    groups: dict[str, list[Model]] = defaultdict(list)
    for placed in placement.placed:
        residents[placed.shard].append(placed)
        homes[placed.model].append(placed)
    for model in scenario.models:
        if model.together is not None:
            groups[model.together].append(model)
    return Setting(
        scenario=scenario,
        parts=names(scenario),
        shards={shard.name: shard for shard in placement.shards},
        residents={name: tuple(items) for name, items in residents.items()},
        homes={name: tuple(items) for name, items in homes.items()},
        groups={name: tuple(items) for name, items in groups.items()},
    )


def try_shard(setting: Setting, model: str, *, replica: int, shard: str) -> Trial:
    """Return what stands against a replica on a shard that is open."""
    movers = _movers(setting, model)
    names_of_movers = {item.name for item in movers}
    target = setting.shards[shard]
    stay = [
        placed
        for placed in setting.residents.get(shard, ())
        if not (placed.model in names_of_movers and placed.replica == replica)
    ]
    others = [placed for placed in _other_replicas(setting, movers, replica) if placed.shard != shard]
    involved = {shard, *(placed.shard for placed in others)}
    shards = [item for item in setting.shards.values() if item.name in involved]
    move = _Move(movers=movers, replica=replica, target=target)
    obstacles = _seat(setting, move, shards=shards, stay=[*stay, *others])
    return Trial(target=shard, opens=False, extra_microusd_per_h=0, obstacles=obstacles)


def try_shard_type(setting: Setting, model: str, *, replica: int, shard_type: str) -> Trial:
    """Return what stands against a replica alone on a shard of a type that would be opened for it."""
    kind = setting.parts.shard_types[shard_type]
    movers = _movers(setting, model)
    obstacles = _fewest(_on_new_shards(setting, movers, replica, _new_shards(setting, kind)))
    if obstacles is None:
        # What would stand against it even if devices were freed comes first: freeing one would not help.
        freed = (
            tuple(item for item in found if item.rule not in _ENDS_WITH_ROOM)
            for found in _on_new_shards(setting, movers, replica, _shards_on_taken_devices(setting, kind))
        )
        obstacles = (*(_fewest(freed) or ()), _no_device(setting, kind))
    return Trial(
        target=shard_type, opens=True, extra_microusd_per_h=kind.price_microusd_per_h, obstacles=obstacles
    )


def _on_new_shards(
    setting: Setting, movers: tuple[Model, ...], replica: int, targets: Iterable[Shard]
) -> Iterator[tuple[Violation, ...]]:
    """Yield what stands against the movers alone on each of some shards that would be opened."""
    others = list(_other_replicas(setting, movers, replica))
    for target in targets:
        shards = sorted((*setting.shards.values(), target), key=lambda item: item.name)
        move = _Move(movers=movers, replica=replica, target=target)
        yield _seat(setting, move, shards=shards, stay=others)


def _fewest(found: Iterable[tuple[Violation, ...]]) -> tuple[Violation, ...] | None:
    """Return the shortest, the first of several; None if there is none."""
    best: tuple[Violation, ...] | None = None
    for obstacles in found:
        best = obstacles if best is None or len(obstacles) < len(best) else best
        if not best:
            break
    return best


def _movers(setting: Setting, model: str) -> tuple[Model, ...]:
    """Return the model, or the whole group that shares its shard."""
    own = setting.parts.models[model]
    return (own,) if own.together is None else setting.groups[own.together]


def _other_replicas(setting: Setting, movers: Iterable[Model], replica: int) -> Iterator[Placed]:
    for model in movers:
        for placed in setting.homes.get(model.name, ()):
            if placed.replica != replica:
                yield placed


def _new_shards(setting: Setting, kind: ShardType) -> Iterator[Shard]:
    """Yield the shards of a type that could be opened: one if it is bought, one a node with free devices."""
    name = _free_name(setting, kind)
    if kind.provision == "new":
        yield Shard(name=name, shard_type=kind.name)
        return
    wanted = _wanted_devices(setting, kind)
    busy = _busy_devices(setting)
    offers = ((node, _free(node, kind, busy[node.name])) for node in setting.scenario.nodes)
    fitting = ((node, free) for node, free in offers if len(free) >= wanted)
    for node, free in islice(fitting, _MOST_NODES):
        yield _shard_on_node(setting, kind, node, free)


def _shards_on_taken_devices(setting: Setting, kind: ShardType) -> Iterator[Shard]:
    """Yield the shards of a type that could be opened if the devices of the nodes were free."""
    wanted = _wanted_devices(setting, kind)
    offers = ((node, _free(node, kind, set())) for node in setting.scenario.nodes)
    for node, devices in islice(((n, found) for n, found in offers if len(found) >= wanted), _MOST_NODES):
        yield _shard_on_node(setting, kind, node, devices)


def _shard_on_node(setting: Setting, kind: ShardType, node: Node, positions: tuple[int, ...]) -> Shard:
    """Return a shard on those of a node's devices that have most room."""

    def room(position: int) -> int:
        found = device_room(
            device_class=setting.parts.device_classes[kind.device_class],
            shard_type=kind,
            runtime=setting.parts.runtimes[kind.runtime],
            policy=setting.scenario.policy,
            device=node.devices[position],
        )
        return found.capacity_bytes - found.fixed_bytes

    roomiest = sorted(positions, key=lambda position: (-room(position), position))
    chosen = tuple(sorted(roomiest[: _wanted_devices(setting, kind)]))
    return Shard(name=_free_name(setting, kind), shard_type=kind.name, node=node.name, node_devices=chosen)


def _free_name(setting: Setting, kind: ShardType) -> str:
    """Return the name that the next shard of a type's group would get."""
    names_of_group = (kind.group if k == 0 else f"{kind.group}-{k}" for k in count_from())
    return next(name for name in names_of_group if name not in setting.shards)


def _wanted_devices(setting: Setting, kind: ShardType) -> int:
    is_cpu = setting.parts.device_classes[kind.device_class].kind == "cpu"
    return 0 if is_cpu else kind.device_count


def _busy_devices(setting: Setting) -> Mapping[str, set[int]]:
    busy: dict[str, set[int]] = defaultdict(set)
    for shard in setting.shards.values():
        if shard.node is not None:
            busy[shard.node].update(shard.node_devices)
    return busy


def _free(node: Node, kind: ShardType, busy: set[int]) -> tuple[int, ...]:
    return tuple(
        position
        for position, device in enumerate(node.devices)
        if device.device_class == kind.device_class and position not in busy
    )


def _no_device(setting: Setting, kind: ShardType) -> Violation:
    busy = _busy_devices(setting)
    free = [len(_free(node, kind, busy[node.name])) for node in setting.scenario.nodes]
    there = [len(_free(node, kind, set())) for node in setting.scenario.nodes]
    wanted, device = _wanted_devices(setting, kind), kind.device_class
    if max(there, default=0) < wanted:
        detail = f"no node has {wanted} {device}, taken or free"
    elif any(free):
        detail = f"{sum(there) - sum(free):,} of {sum(there):,} {device} are taken, no node has {wanted} free"
    else:
        detail = f"every {device} is taken by an open shard, {sum(there):,} in all"
    return Violation(
        rule=Rule.NODE_DEVICES, subject=kind.name, need=wanted, have=max(free, default=0), detail=detail
    )


# ---------------------------------------------------------------------------------------- seating and judging


def _seat(setting: Setting, move: _Move, *, shards: list[Shard], stay: list[Placed]) -> tuple[Violation, ...]:
    """Return what is newly broken with the movers on the target, each on its best device and option."""
    wanted = {placed.model for placed in stay} | {model.name for model in move.movers}
    few = replace(setting.scenario, models=tuple(setting.parts.models[name] for name in sorted(wanted)))
    open_now = tuple(shard for shard in shards if shard.name in setting.shards)
    before = set(verify_placement(few, Placement(shards=open_now, placed=tuple(sorted(stay)))))
    seated = list(stay)
    broken: tuple[Violation, ...] = ()
    for model in move.movers:
        chosen: Placed | None = None
        for seat in islice(_seats(setting, model, move), _MOST_SEATS):
            placement = Placement(shards=tuple(shards), placed=tuple(sorted([*seated, seat])))
            found = tuple(item for item in verify_placement(few, placement) if item not in before)
            if chosen is None or len(found) < len(broken):
                chosen, broken = seat, found
            if not broken:
                break
        if chosen is None:
            return (_too_few_devices(setting, model, move.target),)
        seated.append(chosen)
    return broken


def _seats(setting: Setting, model: Model, move: _Move) -> Iterator[Placed]:
    """Yield the ways of putting a replica on a shard; one that breaks ``device-class`` if none is allowed."""
    kind = setting.parts.shard_types[move.target.shard_type]
    options = options_for(model, setting.parts.device_classes[kind.device_class]) or (0,)
    for devices in combinations(range(kind.device_count), model.devices_per_replica):
        for option in options:
            yield Placed(
                model=model.name,
                replica=move.replica,
                shard=move.target.name,
                devices=devices,
                option=option,
            )


def _too_few_devices(setting: Setting, model: Model, target: Shard) -> Violation:
    wanted = model.devices_per_replica
    count = setting.parts.shard_types[target.shard_type].device_count
    return Violation(
        rule=Rule.EXCLUSIVE_DEVICES,
        subject=target.name,
        need=wanted,
        have=count,
        detail=f"a replica takes {wanted}, the shard has {count}",
    )

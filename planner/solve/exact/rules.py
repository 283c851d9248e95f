"""The rules of ``domain.verify`` as constraints of the assignment problem, one function a family.

All amounts are exact integers; what is not limited makes no constraint. The order of the functions is that
of the specification.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable

from planner.domain.references import in_group
from planner.solve.exact.draft import Bool, Draft, Member, Open
from planner.solve.openings import Openings
from planner.solve.problem import AMPLE, CONFIG, MEMORY

Term = tuple[int, Bool]


def add_rules(draft: Draft) -> None:
    """Add every rule."""
    for rule in _RULES:
        rule(draft)


def _at_most(draft: Draft, terms: Iterable[Term], room: Iterable[Term]) -> None:
    """Add ``sum(terms) <= sum(room)`` in the largest unit that divides all terms."""
    counted = [(amount, literal) for amount, literal in terms if amount]
    step = math.gcd(*(amount for amount, _ in counted))
    if step:
        have = sum((max(0, amount) // step) * literal for amount, literal in room)
        draft.model.add(sum((amount // step) * literal for amount, literal in counted) <= have)


# ------------------------------------------------------------------------------------- what a unit is made of


def seats(draft: Draft) -> None:
    """A unit sits in one shard, which is open; all its models with it, each in one mode, on its devices."""
    for unit in range(len(draft.problem.units)):
        draft.model.add_at_most_one(seat.inside for seat in draft.by_unit[unit])
    for item in draft.opens:
        for seat in item.seats:
            draft.model.add_implication(seat.inside, item.opened)
            for member in seat.members:
                _ways(draft, member, seat.inside)


def _ways(draft: Draft, member: Member, inside: Bool) -> None:
    wanted = draft.problem.scenario.models[member.model].devices_per_replica
    draft.model.add(sum(member.ranks.values()) == inside)
    for rank, literal in member.ranks.items():
        on = [place for (other, _), place in member.on.items() if other == rank]
        if len(on) < wanted:
            draft.model.add(literal == 0)
        else:
            draft.model.add(sum(on) == wanted * literal)


# ---------------------------------------------------------------------------------------------- on a shard


def _users(draft: Draft, item: Open, device: int) -> list[tuple[Member, int, Bool]]:
    """Return what may use a device's memory and time: model, mode and whether it does."""
    problem, found = draft.problem, []
    for seat in item.seats:
        for member in seat.members:
            kind = int(problem.kind[member.model])
            for (rank, where), literal in member.on.items():
                if where == device and problem.modes[rank].on_device[kind, item.slot.shard_type]:
                    found.append((member, rank, literal))
    return found


def _room_of(draft: Draft, item: Open, device: int) -> list[tuple[int, Bool]]:
    """Return the memory that a device leaves to models: a choice where the shard chooses its devices."""
    problem, index = draft.problem, item.slot.shard_type
    if not item.device_at:
        return [(int(problem.device_memory[index] - problem.device_fixed[index]), item.opened)]
    shard_type, openings = problem.scenario.shard_types[index], Openings(problem)
    assert item.slot.node is not None
    node = problem.scenario.nodes[item.slot.node]
    rooms = {place: openings.room(shard_type, node, place) for place in item.slot.positions}
    return [
        (min(AMPLE, rooms[place].capacity_bytes - rooms[place].fixed_bytes), literal)
        for (where, place), literal in item.device_at.items()
        if where == device
    ]


def device_memory(draft: Draft) -> None:
    """On every GPU the bases, the steady footprints and the largest surpluses of loading fit."""
    problem = draft.problem
    for item in draft.opens:
        index = item.slot.shard_type
        for device in range(int(problem.device_counts[index])):
            users, room = _users(draft, item, device), _room_of(draft, item, device)
            bases: dict[int, list[Bool]] = defaultdict(list)
            terms, surplus = [], []
            for member, rank, literal in users:
                kind, mode = int(problem.kind[member.model]), problem.modes[rank]
                bases[int(problem.backend[member.model])].append(literal)
                terms.append((int(mode.steady[kind, index]), literal))
                surplus.append((int(mode.surplus[kind, index]), literal))
                for have, literal_of_room in room:
                    if have < 0 or mode.steady[kind, index] + mode.surplus[kind, index] > have:
                        draft.model.add_bool_or(~literal, ~literal_of_room)
            terms += [
                (int(problem.device_base[backend]), draft.any_of(literals))
                for backend, literals in bases.items()
            ]
            _startable(draft, terms, surplus, (room, int(problem.parallel_loads[index])))


def _startable(draft: Draft, terms: list[Term], surplus: list[Term], at: tuple[list[Term], int]) -> None:
    """What is used, and what the k models that need most room to load take on top, fit.

    The sum of the k largest is the least of ``k t + sum(max(0, surplus - t))`` over all t.
    """
    room, most = at
    have = max(amount for amount, _ in room)
    terms = _possible(draft, terms, have)
    counted = [(amount, literal) for amount, literal in surplus if 0 < amount <= have]
    if most >= len(counted):
        _at_most(draft, (*terms, *counted), room)
        return
    present = sorted((amount for amount, literal in counted if draft.value(literal)), reverse=True)
    kth = present[most - 1] if len(present) >= most else 0
    least = draft.integer(0, max(amount for amount, _ in counted), kth)
    loading: list[Term] = [(most, least)]
    for amount, literal in counted:
        if most == 1:
            draft.model.add(amount * literal <= least)
        else:
            above = draft.integer(0, amount, amount * draft.value(literal) - kth)
            draft.model.add(above >= amount * literal - least)
            loading.append((1, above))
    _at_most(draft, (*terms, *loading), room)


def _possible(draft: Draft, terms: Iterable[Term], have: int) -> list[Term]:
    """Return the terms that alone are not more than there is; the others are ruled out."""
    found = []
    for amount, literal in terms:
        if amount > max(0, have):
            draft.model.add(literal == 0)
        else:
            found.append((amount, literal))
    return found


def device_time(draft: Draft) -> None:
    """On every GPU the shares of its time fit."""
    problem = draft.problem
    for item in draft.opens:
        index = item.slot.shard_type
        for device in range(int(problem.device_counts[index])):
            terms = [
                (int(problem.modes[rank].milli[int(problem.kind[member.model]), index]), literal)
                for member, rank, literal in _users(draft, item, device)
            ]
            _at_most(draft, terms, [(int(problem.device_milli[index]), item.opened)])


def exclusive_devices(draft: Draft) -> None:
    """A replica on several devices has them for itself."""
    models = draft.problem.scenario.models
    for item in draft.opens:
        for device in range(int(draft.problem.device_counts[item.slot.shard_type])):
            whole: list[Bool] = []
            shared: list[Bool] = []
            for seat in item.seats:
                for member in seat.members:
                    alone = models[member.model].devices_per_replica > 1
                    here = [literal for (_, where), literal in member.on.items() if where == device]
                    (whole if alone else shared).extend(here)
            if whole:
                taken = draft.any_of(whole)
                draft.model.add_at_most_one(whole)
                for literal in shared:
                    draft.model.add_implication(literal, ~taken)


def host_resources(draft: Draft) -> None:
    """CPU, host memory with every backend's base once, disk, models and named resources of a shard fit."""
    problem = draft.problem
    for item in draft.opens:
        index = item.slot.shard_type
        ways = [
            (member.model, rank, literal)
            for seat in item.seats
            for member in seat.members
            for rank, literal in member.ranks.items()
        ]
        backends: dict[int, list[Bool]] = defaultdict(list)
        for model, _, literal in ways:
            backends[int(problem.backend[model])].append(literal)
        for column in range(len(problem.columns)):
            room = int(problem.host_room[index, column])
            if column == CONFIG or room >= AMPLE:
                continue
            terms = [
                (int(problem.modes[rank].host[int(problem.kind[model]), index, column]), literal)
                for model, rank, literal in ways
            ]
            if column == MEMORY:
                terms += [
                    (int(problem.host_base[backend]), draft.any_of(literals))
                    for backend, literals in backends.items()
                ]
            _at_most(draft, _possible(draft, terms, room), [(room, item.opened)])


def models_json(draft: Draft) -> None:
    """The entries of the models whose lowest placed replica is in a shard fit into its ``models.json``."""
    problem = draft.problem
    for item in draft.opens:
        terms = []
        for seat in item.seats:
            entry = _entry(draft, seat.unit, seat.inside)
            if entry is not None:
                members = problem.units[seat.unit].members
                terms += [(int(problem.entry_bytes[model]), entry) for model in members]
        room = int(problem.host_room[item.slot.shard_type, CONFIG])
        _at_most(draft, _possible(draft, terms, room), [(room, item.opened)])


def _entry(draft: Draft, unit: int, inside: Bool) -> Bool | None:
    """Return whether a seated unit is the lowest placed one of its models; None if it never is.

    With ``order_of_replicas`` that is replica 0, or replica 1 where replica 0 is pinned and was refused.
    """
    before = draft.replica_before(unit)
    if before is None:
        return inside
    if draft.problem.units[before].pin is None:
        return None
    first = draft.by_unit[before]
    entry = draft.literal(draft.value(inside) and not any(draft.value(seat.inside) for seat in first))
    draft.model.add(entry >= inside - draft.placed(before))
    return entry


def tenants(draft: Draft) -> None:
    """No shard holds models of two tenants."""
    problem = draft.problem
    if not problem.scenario.policy.isolate_tenants:
        return
    for item in draft.opens:
        by_tenant: dict[int, list[Bool]] = defaultdict(list)
        for seat in item.seats:
            for tenant in {int(problem.tenant[model]) for model in problem.units[seat.unit].members}:
                by_tenant[tenant].append(seat.inside)
        if len(by_tenant) > 1:
            draft.model.add_at_most_one(draft.any_of(members) for members in by_tenant.values())


# ---------------------------------------------------------------------------------- between shards and models


def spread(draft: Draft) -> None:
    """No two replicas of a model share a failure domain."""
    where: dict[tuple[int, int], list[Bool]] = defaultdict(list)
    for item in draft.opens:
        for seat in item.seats:
            for model in draft.problem.units[seat.unit].members:
                where[model, item.slot.domain].append(seat.inside)
    for literals in where.values():
        if len(literals) > 1:
            draft.model.add_at_most_one(literals)


def pins(draft: Draft) -> None:
    """A pinned unit is in the shard of that name, of which there is one, and on the device it names."""
    problem = draft.problem
    wanted = sorted({unit.pin for unit in problem.units if unit.pin is not None})
    named: dict[int, list[Bool]] = defaultdict(list)
    for name in wanted:
        bearers = []
        for number, item in enumerate(draft.opens):
            if not in_group(name, problem.scenario.shard_types[item.slot.shard_type].group):
                continue
            here = [seat for seat in item.seats if problem.units[seat.unit].pin == name]
            bears = draft.any_of(seat.inside for seat in here)
            bearers.append(bears)
            named[number].append(bears)
        draft.model.add_at_most_one(bearers)
    for bears_of_slot in named.values():
        draft.model.add_at_most_one(bears_of_slot)
    _pinned_devices(draft)


def _pinned_devices(draft: Draft) -> None:
    problem = draft.problem
    for item in draft.opens:
        for seat in item.seats:
            for member in seat.members:
                pin = problem.scenario.models[member.model].pin
                if pin is not None and pin.device is not None and problem.units[seat.unit].replica == 0:
                    there = [literal for (_, where), literal in member.on.items() if where == pin.device]
                    draft.model.add(sum(there) == seat.inside)


def counts(draft: Draft) -> None:
    """Shards of each type and in all, their pods' addresses and their price stay within the limits."""
    scenario = draft.problem.scenario
    of_type: dict[int, list[Bool]] = defaultdict(list)
    for item in draft.opens:
        of_type[item.slot.shard_type].append(item.opened)
    for index, shard_type in enumerate(scenario.shard_types):
        opened = sum(of_type[index])
        if of_type[index] or shard_type.min_count:
            draft.model.add(opened >= shard_type.min_count)
        if of_type[index] and shard_type.max_count is not None:
            draft.model.add(opened <= shard_type.max_count)
    types = [(scenario.shard_types[item.slot.shard_type], item.opened) for item in draft.opens]
    for terms, limit in (
        ([(item.replicas, opened) for item, opened in types], scenario.cluster.max_ips),
        ([(1, opened) for _, opened in types], scenario.policy.max_shards),
        (
            [(item.price_microusd_per_h, opened) for item, opened in types],
            scenario.policy.max_usd_per_h_microusd,
        ),
    ):
        if limit is not None and types:
            draft.model.add(sum(amount * opened for amount, opened in terms) <= limit)


def on_nodes(draft: Draft) -> None:
    """Every node has the CPU, memory, pods and free devices that its shards ask for."""
    scenario, openings = draft.problem.scenario, Openings(draft.problem)
    by_node: dict[int, list[Open]] = defaultdict(list)
    for item in draft.opens:
        if item.slot.node is not None:
            by_node[item.slot.node].append(item)
    for index, here in by_node.items():
        node = scenario.nodes[index]
        types = [(scenario.shard_types[item.slot.shard_type], item.opened) for item in here]
        draft.model.add(sum(item.cpu_milli * opened for item, opened in types) <= node.cpu_milli)
        draft.model.add(sum(item.memory_bytes * opened for item, opened in types) <= node.memory_bytes)
        draft.model.add(sum(opened for _, opened in types) <= openings.pods_of(node))
        _devices_of_node(draft, here)


def _devices_of_node(draft: Draft, here: list[Open]) -> None:
    """Each device of an open shard is one of the node's, and none of those is taken twice."""
    taken: dict[int, list[Bool]] = defaultdict(list)
    for item in here:
        for device in sorted({device for device, _ in item.device_at}):
            chosen = [literal for (where, _), literal in item.device_at.items() if where == device]
            draft.model.add(sum(chosen) == item.opened)
        for (_, position), literal in item.device_at.items():
            taken[position].append(literal)
    for literals in taken.values():
        draft.model.add_at_most_one(literals)


# ------------------------------------------------------------------------------------------------- symmetry


def order_of_shards(draft: Draft) -> None:
    """Shards that are alike are opened in order, and each begins with a later unit than the one before."""
    by_slot = {item.slot: item for item in draft.opens}
    for alike in draft.alike:
        items = [by_slot[slot] for slot in alike]
        for before, item in itertools.pairwise(items):
            draft.model.add_implication(item.opened, before.opened)
            for seat in item.seats:
                earlier = [other.inside for other in before.seats if other.unit < seat.unit]
                draft.model.add_bool_or(*earlier, ~seat.inside)


def order_of_replicas(draft: Draft) -> None:
    """Replicas are alike, so those that are placed are the first ones; a pinned one is like no other."""
    for unit in range(len(draft.problem.units)):
        before = draft.replica_before(unit)
        if before is not None and draft.problem.units[before].pin is None:
            draft.model.add(draft.placed(unit) <= draft.placed(before))


_RULES: tuple[Callable[[Draft], None], ...] = (
    seats,
    device_memory,
    device_time,
    exclusive_devices,
    host_resources,
    models_json,
    tenants,
    spread,
    pins,
    counts,
    on_nodes,
    order_of_shards,
    order_of_replicas,
)

"""The assignment problem under construction: its variables, each with the value it has in a known packing.

A variable that follows from others is made with the value that follows from theirs, so the hint is complete
whatever the rules add.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ortools.sat.python import cp_model

from planner.domain.references import in_group
from planner.solve.exact.slots import Slot, slots_of_rows
from planner.solve.packing import Packing, Resident

Bool = cp_model.IntVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A model of a unit in a slot: in which mode (one literal a rank), on which device in which mode."""

    model: int
    ranks: dict[int, Bool]
    on: dict[tuple[int, int], Bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A unit in a slot."""

    unit: int
    slot: Slot
    inside: Bool
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A slot: whether it is open, which devices of its node it has, and who may sit in it."""

    slot: Slot
    opened: Bool
    device_at: dict[tuple[int, int], Bool]
    seats: list[Seat] = field(default_factory=list)


class Draft:
    """The variables of an assignment problem.

    Parameters
    ----------
    packing
        A packing whose content is the hint.
    slots
        Candidate shards, alike ones together.
    """

    def __init__(self, packing: Packing, slots: tuple[tuple[Slot, ...], ...]) -> None:
        self.model = cp_model.CpModel()
        self.packing, self.problem, self.alike = packing, packing.problem, slots
        self.hint: list[int] = []
        self._row = slots_of_rows(packing, slots)
        self.opens = [self._open(slot) for of_one in slots for slot in of_one]
        for item in self.opens:
            item.seats.extend(self._seats(item.slot))

    # ------------------------------------------------------------------------------------------ variables

    def literal(self, value: object) -> Bool:
        """Return a new literal that is hinted at, as true if the value is truthy."""
        self.hint.append(int(bool(value)))
        return self.model.new_bool_var("")

    def integer(self, least: int, most: int, value: int) -> Bool:
        """Return a new integer that is hinted at."""
        self.hint.append(min(max(value, least), most))
        return self.model.new_int_var(least, most, "")

    def value(self, variable: Bool) -> int:
        """Return what a variable is hinted at."""
        return self.hint[variable.index]

    def any_of(self, members: Iterable[Bool]) -> Bool:
        """Return a literal that is true if one of the members is."""
        known = list(members)
        found = self.literal(any(self.value(item) for item in known))
        for item in known:
            self.model.add_implication(item, found)
        return found

    # ----------------------------------------------------------------------------------------- structure

    @cached_property
    def by_unit(self) -> dict[int, list[Seat]]:
        """Return where each unit may sit."""
        found = defaultdict(list)
        for item in self.opens:
            for seat in item.seats:
                found[seat.unit].append(seat)
        return found

    def placed(self, unit: int) -> cp_model.LinearExpr:
        """Return whether a unit is placed."""
        return cp_model.LinearExpr.sum([seat.inside for seat in self.by_unit[unit]])

    def replica_before(self, unit: int) -> int | None:
        """Return the unit that is the replica before; None for the first of its models."""
        units = self.problem.units
        return unit - 1 if unit and units[unit - 1].members == units[unit].members else None

    def _open(self, slot: Slot) -> Open:
        row = self._row.get(slot)
        taken = self.packing.opened[row].positions if row is not None else ()
        devices = range(int(self.problem.device_counts[slot.shard_type]) if slot.positions else 0)
        return Open(
            slot=slot,
            opened=self.literal(row is not None),
            device_at={
                (device, position): self.literal(device < len(taken) and taken[device] == position)
                for device in devices
                for position in slot.positions
            },
        )

    def _seats(self, slot: Slot) -> Iterable[Seat]:
        """Yield a seat for every unit that the slot's type serves; what it needs is the rules' business."""
        item = self.problem.scenario.shard_types[slot.shard_type]
        for unit, one in enumerate(self.problem.units):
            kinds = [int(self.problem.kind[model]) for model in one.members]
            ways = [
                [r for r, mode in enumerate(self.problem.modes) if mode.allowed[kind, slot.shard_type]]
                for kind in kinds
            ]
            if all(ways) and (one.pin is None or in_group(one.pin, item.group)):
                yield self._seat(unit, slot, ways)

    def _seat(self, unit: int, slot: Slot, ways: Sequence[Sequence[int]]) -> Seat:
        row = self._row.get(slot)
        inside = self.literal(row is not None and self.packing.row_of_unit[unit] == row)
        here = self.packing.residents[row] if row is not None else []
        known = {item.model: item for item in here if item.unit == unit}
        members = tuple(
            self._member(inside, slot, model, (ranks, known.get(model)))
            for model, ranks in zip(self.problem.units[unit].members, ways, strict=True)
        )
        return Seat(unit=unit, slot=slot, inside=inside, members=members)

    def _member(
        self, inside: Bool, slot: Slot, model: int, how: tuple[Sequence[int], Resident | None]
    ) -> Member:
        """Return the ways of a model in a slot; where there is one way only, it is the seat's own literal."""
        ranks, known = how
        devices = int(self.problem.device_counts[slot.shard_type])
        modes = {
            rank: inside if len(ranks) == 1 else self.literal(known is not None and known.rank == rank)
            for rank in ranks
        }
        on = {
            (rank, device): literal
            if devices == 1
            else self.literal(known is not None and known.rank == rank and device in known.devices)
            for rank, literal in modes.items()
            for device in range(devices)
        }
        return Member(model=model, ranks=modes, on=on)

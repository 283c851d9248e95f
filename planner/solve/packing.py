"""The state of a search: open shards and what is on them, legal after every change.

Rows are shards, cells are their devices; both are numpy arrays that grow, so that one unit is tried on all
open shards at once. Closed shards keep their row and take nothing.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.solve.openings import Opening, Openings
from planner.solve.problem import AMPLE, CONFIG, MEMORY, Bools, Ints, Problem

Floats = NDArray[np.float64]
NO_TENANT = -1


class Resident(NamedTuple):
    """One replica of a model in a shard: which unit it is of, in which mode, on which of the devices.

    A tuple, because a large fleet has millions and they are made much faster.
    """

    unit: int
    model: int
    rank: int
    devices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Where a simple unit fits: cells, and how tight each would be (smaller is tighter)."""

    cells: Ints
    slack: Floats
    rank: int


class Packing:
    """Open shards and their residents.

    Parameters
    ----------
    problem
        What is packed.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.openings = Openings(problem)
        self.rows = 0
        self.cells = 0
        self.opened: list[Opening] = []
        self.names: list[str | None] = []
        self.residents: list[list[Resident]] = []
        self.row_of_unit: list[int | None] = [None] * len(problem.units)
        self._domains_of_model: list[list[int]] = [[] for _ in problem.scenario.models]
        self._peaks: list[list[int]] = []
        backends, columns = len(problem.device_base), len(problem.columns)
        # of each row
        self.alive = np.zeros(0, dtype=np.bool_)
        self.type_of = np.zeros(0, dtype=np.int64)
        self.host_left = np.zeros((0, columns), dtype=np.int64)
        self.host_users = np.zeros((0, backends), dtype=np.int64)
        self.tenant = np.zeros(0, dtype=np.int64)
        self.domain = np.zeros(0, dtype=np.int64)
        self.first_cell = np.zeros(0, dtype=np.int64)
        # of each cell
        self.row_of = np.zeros(0, dtype=np.int64)
        self.cell_type = np.zeros(0, dtype=np.int64)
        self.memory_left = np.zeros(0, dtype=np.int64)
        self.milli_left = np.zeros(0, dtype=np.int64)
        self.peak_sum = np.zeros(0, dtype=np.int64)
        self.peak_least = np.zeros(0, dtype=np.int64)
        self.device_users = np.zeros((0, backends), dtype=np.int64)
        self.crowd = np.zeros(0, dtype=np.int64)
        self.exclusive = np.zeros(0, dtype=np.bool_)

    # --------------------------------------------------------------------------------------- open and close

    def open(self, opening: Opening, *, name: str | None = None) -> int:
        """Open a shard and return its row; ``name`` None is given when the plan is written."""
        row, cells = self.rows, len(opening.rooms)
        if row == len(self.alive) or self.cells + cells > len(self.row_of):
            self._grow(row + 1, self.cells + cells)
        self.openings.take(opening)
        self.opened.append(opening)
        self.names.append(name)
        self.residents.append([])
        self.alive[row] = True
        self.type_of[row] = opening.shard_type
        self.host_left[row] = self.problem.host_room[opening.shard_type]
        self.host_users[row] = 0
        self.tenant[row] = NO_TENANT
        self.domain[row] = self.openings.domain(opening, row)
        self.first_cell[row] = self.cells
        for offset, room in enumerate(opening.rooms):
            cell = self.cells + offset
            self.row_of[cell] = row
            self.cell_type[cell] = opening.shard_type
            self.memory_left[cell] = min(room.capacity_bytes - room.fixed_bytes, AMPLE)
            self.milli_left[cell] = min(room.capacity_milli, AMPLE)
            self.peak_sum[cell] = self.peak_least[cell] = 0
            self.device_users[cell] = 0
            self.crowd[cell] = 0
            self.exclusive[cell] = False
            self._peaks.append([])
        self.rows, self.cells = row + 1, self.cells + cells
        return row

    def close(self, row: int) -> None:
        """Close an empty shard."""
        assert not self.residents[row]
        self.alive[row] = False
        self.openings.give_back(self.opened[row])

    def reopen(self, row: int) -> None:
        """Open a closed shard again, where it was."""
        assert not self.alive[row]
        self.openings.take(self.opened[row])
        self.alive[row] = True

    def forget(self, row: int) -> None:
        """Drop the row of the shard that was opened last and is closed again."""
        assert row == self.rows - 1
        assert not self.alive[row]
        cells = len(self.opened[row].rooms)
        self.rows, self.cells = row, self.cells - cells
        del self.opened[row], self.names[row], self.residents[row], self._peaks[self.cells :]

    def _grow(self, rows: int, cells: int) -> None:
        for name in (
            "alive",
            "type_of",
            "host_left",
            "host_users",
            "tenant",
            "domain",
            "first_cell",
        ):
            setattr(self, name, _grown(getattr(self, name), rows))
        for name in (
            "row_of",
            "cell_type",
            "memory_left",
            "milli_left",
            "peak_sum",
            "peak_least",
            "device_users",
            "crowd",
            "exclusive",
        ):
            setattr(self, name, _grown(getattr(self, name), cells))

    def open_rows(self) -> list[int]:
        """Return the rows of the open shards in the order in which they were opened."""
        rows: list[int] = np.flatnonzero(self.alive[: self.rows]).tolist()
        return rows

    @property
    def cost(self) -> int:
        """Price of the open shards in micro-USD an hour."""
        return self.openings.cost

    def adopt(self, residents: list[list[Resident]], row_of_unit: Ints, surpluses: list[list[int]]) -> None:
        """Take over who is in the open, empty shards; what that leaves of each is noted by ``settle``.

        Parameters
        ----------
        residents
            Of each row.
        row_of_unit
            Where each unit is; -1 is nowhere.
        surpluses
            Of each cell, what loading each of its residents takes on top; in any order.
        """
        self.residents = residents
        self.row_of_unit = [where if where >= 0 else None for where in row_of_unit.tolist()]
        for domain, some in zip(self.domain.tolist(), residents, strict=False):
            for one in some:
                self._domains_of_model[one.model].append(domain)
        for cell, peaks in enumerate(surpluses):
            self._peaks[cell] = sorted(peaks)
            self._note_peaks(cell)

    # ----------------------------------------------------------------------------------- vector search

    def fit(self, unit: int, weights: Floats | None = None) -> Fit | None:
        """Return where a simple unit fits now; None if nowhere.

        Parameters
        ----------
        weights
            ``(types, 2 + columns)``: what a share of device memory, device time and of each column that stays
            free is worth; None values all the same.
        """
        for rank in range(len(self.problem.modes)):
            found = self._fit(unit, rank, weights)
            if found is not None:
                return found
        return None

    def _fit(self, unit: int, rank: int, weights: Floats | None) -> Fit | None:
        problem, mode = self.problem, self.problem.modes[rank]
        model = problem.units[unit].members[0]
        kind, backend = int(problem.kind[model]), int(problem.backend[model])
        if not mode.allowed[kind].any():
            return None
        cells = self.cells
        row_ok, host_left = self._rows_that_fit(unit, mode.allowed[kind], mode.host[kind])
        types, row_of = self.cell_type[:cells], self.row_of[:cells]
        on_device = mode.on_device[kind]
        base = np.where(on_device, problem.device_base[backend], 0)
        memory_left = (
            self.memory_left[:cells]
            - mode.steady[kind][types]
            - base[types] * (self.device_users[:cells, backend] == 0)
            - self.peak_sum[:cells]
            - np.maximum(mode.surplus[kind][types] - self.peak_least[:cells], 0)
        )
        milli_left = self.milli_left[:cells] - mode.milli[kind][types]
        fits = ((memory_left >= 0) & (milli_left >= 0)) | ~on_device[types]
        fits &= row_ok[row_of] & ~self.exclusive[:cells]
        found = np.flatnonzero(fits)
        if not len(found):
            return None
        slack = self._slack(found, memory_left, milli_left, host_left, weights)
        return Fit(cells=found, slack=slack, rank=rank)

    def _rows_that_fit(self, unit: int, allowed: Bools, host: Ints) -> tuple[Bools, Ints]:
        problem = self.problem
        one = problem.units[unit]
        model = one.members[0]
        backend, types = int(problem.backend[model]), self.type_of[: self.rows]
        left = self.host_left[: self.rows] - host[types]
        left[:, MEMORY] -= problem.host_base[backend] * (self.host_users[: self.rows, backend] == 0)
        left[:, CONFIG] -= problem.entry_bytes[model]
        fits = self.alive[: self.rows] & allowed[types] & (left >= 0).all(axis=1)
        if problem.scenario.policy.isolate_tenants:
            tenant = self.tenant[: self.rows]
            fits &= (tenant == NO_TENANT) | (tenant == problem.tenant[model])
        for domain in self._domains_of_model[model]:
            fits &= self.domain[: self.rows] != domain
        return fits, left

    def _slack(
        self,
        found: Ints,
        memory_left: Ints,
        milli_left: Ints,
        host_left: Ints,
        weights: Floats | None,
    ) -> Floats:
        """Return the weighted shares of the capacity that would stay free; summed column by column."""
        problem, types, rows = self.problem, self.cell_type[found], self.row_of[found]
        room = np.maximum(problem.device_memory - problem.device_fixed, 1)
        weigh = np.ones((len(problem.prices), 2 + len(problem.columns))) if weights is None else weights
        slack = weigh[types, 0] * memory_left[found] / room[types]
        slack += weigh[types, 1] * milli_left[found] / np.maximum(problem.device_milli, 1)[types]
        for column in range(len(problem.columns)):
            capacity = np.maximum(problem.host_room[:, column], 1)
            slack += weigh[types, 2 + column] * host_left[rows, column] / capacity[types]
        return np.asarray(slack, dtype=np.float64)

    # ----------------------------------------------------------------------------------- scalar changes

    def place(self, unit: int, cell: int, rank: int) -> None:
        """Put a simple unit on a cell that ``fit`` named."""
        row = int(self.row_of[cell])
        model = self.problem.units[unit].members[0]
        device = cell - int(self.first_cell[row])
        self._add(row, Resident(unit=unit, model=model, rank=rank, devices=(device,)))
        self.row_of_unit[unit] = row

    def place_whole(self, unit: int, row: int) -> bool:
        """Put any unit into a shard if it fits; returns whether it did and changes nothing if not."""
        one = self.problem.units[unit]
        if not self.alive[row] or not self._name_fits(unit, row):
            return False
        added: list[Resident] = []
        for model in sorted(one.members, key=lambda m: (-self._size(m, row), m)):
            resident = self._seat(unit, model, row)
            if resident is None:
                for other in reversed(added):
                    self._remove(row, other)
                return False
            self._add(row, resident)
            added.append(resident)
        self.row_of_unit[unit] = row
        return True

    def restore(self, unit: int, row: int, residents: Iterable[Resident]) -> bool:
        """Put a unit where it was, on the same devices in the same modes, if that is legal now."""
        if not self.alive[row] or not self._name_fits(unit, row):
            return False
        added: list[Resident] = []
        for resident in residents:
            if not self._may_join(row, resident):
                for other in reversed(added):
                    self._remove(row, other)
                return False
            self._add(row, resident)
            added.append(resident)
        self.row_of_unit[unit] = row
        return True

    def remove(self, unit: int) -> tuple[int, tuple[Resident, ...]]:
        """Take a unit out of its shard; returns its row and residents, for ``restore``."""
        row = self.row_of_unit[unit]
        assert row is not None
        gone = tuple(item for item in self.residents[row] if item.unit == unit)
        for resident in gone:
            self._remove(row, resident)
        self.row_of_unit[unit] = None
        return row, gone

    def units_in(self, row: int) -> list[int]:
        """Return the units of a shard in the order in which they came."""
        return list(dict.fromkeys(item.unit for item in self.residents[row]))

    def domains(self, unit: int) -> list[int]:
        """Return the failure domains that other replicas of a unit's models are in."""
        return [d for model in self.problem.units[unit].members for d in self._domains_of_model[model]]

    def domains_of_model(self, model: int) -> list[int]:
        """Return the failure domains that replicas of a model are in."""
        return self._domains_of_model[model]

    def _name_fits(self, unit: int, row: int) -> bool:
        pin = self.problem.units[unit].pin
        return pin is None or pin == self.names[row]

    def _size(self, model: int, row: int) -> int:
        kind, mode = int(self.problem.kind[model]), self.problem.modes[0]
        whole = self.problem.scenario.models[model].devices_per_replica
        return int(mode.steady[kind, self.type_of[row]]) * whole

    def _seat(self, unit: int, model: int, row: int) -> Resident | None:
        """Return where in a shard one model fits best; None if nowhere."""
        for rank in range(len(self.problem.modes)):
            for devices in self._seats(unit, model, row):
                resident = Resident(unit=unit, model=model, rank=rank, devices=devices)
                if self._may_join(row, resident):
                    return resident
        return None

    def _seats(self, unit: int, model: int, row: int) -> list[tuple[int, ...]]:
        """Return sets of devices to try, the tightest first."""
        item = self.problem.scenario.models[model]
        first, count = int(self.first_cell[row]), len(self.opened[row].rooms)
        backend = int(self.problem.backend[model])
        order = sorted(
            range(count),
            key=lambda d: (
                self.device_users[first + d, backend] == 0,
                int(self.memory_left[first + d]),
                d,
            ),
        )
        pinned = item.pin.device if item.pin and self.problem.units[unit].replica == 0 else None
        if item.devices_per_replica == 1:
            return [(device,) for device in order if pinned in (None, device)]
        idle = [device for device in order if self.crowd[first + device] == 0]
        if pinned is not None:
            idle = sorted(idle, key=lambda d: d != pinned)
        return _windows(idle, item.devices_per_replica, pinned)

    def _may_join(self, row: int, resident: Resident) -> bool:
        """Return whether every rule of the shard allows one more resident."""
        problem, mode = self.problem, self.problem.modes[resident.rank]
        model, shard_type = resident.model, int(self.type_of[row])
        kind, backend = int(problem.kind[model]), int(problem.backend[model])
        if not mode.allowed[kind, shard_type] or self.domain[row] in self._domains_of_model[model]:
            return False
        if self.tenant[row] not in (NO_TENANT, problem.tenant[model]):
            return False
        left = self.host_left[row] - mode.host[kind, shard_type]
        if self.host_users[row, backend] == 0:
            left[MEMORY] -= problem.host_base[backend]
        left[CONFIG] -= problem.entry_bytes[model]
        if (left < 0).any():
            return False
        alone = len(resident.devices) > 1
        return all(
            self._device_takes(
                int(self.first_cell[row]) + device,
                mode_at=(resident.rank, kind, shard_type),
                backend=backend,
                alone=alone,
            )
            for device in resident.devices
        )

    def _device_takes(self, cell: int, *, mode_at: tuple[int, int, int], backend: int, alone: bool) -> bool:
        rank, kind, shard_type = mode_at
        mode = self.problem.modes[rank]
        if self.exclusive[cell] or (alone and self.crowd[cell]):
            return False
        if not mode.on_device[kind, shard_type]:
            return True
        base = 0 if self.device_users[cell, backend] else int(self.problem.device_base[backend])
        peak = max(0, int(mode.surplus[kind, shard_type]) - int(self.peak_least[cell]))
        used = int(mode.steady[kind, shard_type]) + base + int(self.peak_sum[cell]) + peak
        return bool(used <= self.memory_left[cell] and mode.milli[kind, shard_type] <= self.milli_left[cell])

    def _add(self, row: int, resident: Resident) -> None:
        self._change(row, resident, 1)
        self.residents[row].append(resident)
        self.tenant[row] = self.problem.tenant[resident.model]
        self._domains_of_model[resident.model].append(int(self.domain[row]))

    def _remove(self, row: int, resident: Resident) -> None:
        self.residents[row].remove(resident)
        if not self.residents[row]:
            self.tenant[row] = NO_TENANT
        self._domains_of_model[resident.model].remove(int(self.domain[row]))
        self._change(row, resident, -1)

    def _change(self, row: int, resident: Resident, sign: int) -> None:
        problem, mode = self.problem, self.problem.modes[resident.rank]
        model, shard_type = resident.model, int(self.type_of[row])
        kind, backend = int(problem.kind[model]), int(problem.backend[model])
        left = self.host_left[row]
        left -= sign * mode.host[kind, shard_type]
        left[CONFIG] -= sign * problem.entry_bytes[model]
        if _first_or_last(self.host_users[row], backend, sign):
            left[MEMORY] -= sign * problem.host_base[backend]
        for device in resident.devices:
            cell = int(self.first_cell[row]) + device
            self.crowd[cell] += sign
            if len(resident.devices) > 1:
                self.exclusive[cell] = sign > 0
            if mode.on_device[kind, shard_type]:
                self._change_device(cell, resident.rank, (kind, shard_type, backend), sign)

    def _change_device(self, cell: int, rank: int, at: tuple[int, int, int], sign: int) -> None:
        kind, shard_type, backend = at
        mode = self.problem.modes[rank]
        base = (
            self.problem.device_base[backend] if _first_or_last(self.device_users[cell], backend, sign) else 0
        )
        self.memory_left[cell] -= sign * (mode.steady[kind, shard_type] + base)
        self.milli_left[cell] -= sign * mode.milli[kind, shard_type]
        peaks, surplus = self._peaks[cell], int(mode.surplus[kind, shard_type])
        if sign > 0:
            insort(peaks, surplus)
        else:
            peaks.remove(surplus)
        self._note_peaks(cell)

    def _note_peaks(self, cell: int) -> None:
        peaks, most = self._peaks[cell], int(self.problem.parallel_loads[self.cell_type[cell]])
        largest = peaks[-most:]
        self.peak_sum[cell] = sum(largest)
        self.peak_least[cell] = largest[0] if len(peaks) >= most else 0


def _first_or_last(users: Ints, backend: int, sign: int) -> bool:
    """Count a user of a backend in or out; returns whether the backend's base comes or goes with it."""
    users[backend] += sign
    return bool(users[backend] == (1 if sign > 0 else 0))


def _grown(array: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    if size <= len(array):
        return array
    bigger = np.zeros((max(16, 2 * size), *array.shape[1:]), dtype=array.dtype)
    bigger[: len(array)] = array
    return bigger


def _windows(idle: list[int], width: int, pinned: int | None) -> list[tuple[int, ...]]:
    """Return every run of idle devices, as sorted sets; with a pinned device first, only sets with it."""
    if pinned is not None:
        rest = [device for device in idle if device != pinned]
        if pinned not in idle:
            return []
        return [tuple(sorted((pinned, *rest[i : i + width - 1]))) for i in range(len(rest) - width + 2)]
    return [tuple(sorted(idle[i : i + width])) for i in range(len(idle) - width + 1)]

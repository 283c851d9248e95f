"""``Placer``: a living plan that takes models in and lets them go, one by one, without moving any other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Refusal
from planner.domain.scenario import Scenario, names
from planner.online.arrays import (
    ANYWHERE,
    DOMAIN,
    FIRST,
    LAST,
    MEMORY_LEFT,
    PEAK_SUM,
    TYPE,
    Floats,
    Where,
)
from planner.online.asks import Way
from planner.online.book import Book, Resident, without
from planner.online.choosing import choose, measure
from planner.online.mix import make_scores
from planner.online.reasons import Obstacle, obstacles, refusal_of
from planner.solve.problem import make_problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a model.

    Parameters
    ----------
    placed
        Its replicas that got a place, and those of the models that have to be with it.
    refused
        Why others got none; one entry a model.
    obstructed, obstacles
        The first model that was refused, and what stands against it, rule by rule; None and empty if all were
        placed.
    """

    placed: tuple[Placed, ...]
    refused: tuple[Refusal, ...]
    obstructed: str | None = None
    obstacles: tuple[Obstacle, ...] = ()


class Placer:
    """A plan in the form in which a place for one more model is found in microseconds.

    Every place is legal by the rules of ``domain.verify``; nothing moves, and shards are opened and closed by
    ``open`` and ``close`` alone. What is as good as another place is decided by the order of the shards, so
    equal calls give equal answers.

    Parameters
    ----------
    scenario
        What is planned. Its models say which others are likely to come.
    placement
        A legal placement of it.

    Raises
    ------
    KeyError
        The placement names a shard type or model that the scenario does not have.
    """

    def __init__(self, scenario: Scenario, placement: Placement) -> None:
        self._parts = names(scenario)
        self._models = dict(self._parts.models)
        self._scenario = scenario
        self._book = Book(scenario, self._parts, placement)
        self._scores = make_scores(make_problem(scenario), self._book.board)
        self._groups: dict[str, set[str]] = {}
        for model in scenario.models:
            if model.together is not None:
                self._groups.setdefault(model.together, set()).add(model.name)
        measure(self._book.board, self._scores, 0, len(self._book.shards))

    # ------------------------------------------------------------------------------------------ what there is

    @property
    def scenario(self) -> Scenario:
        """Return the scenario with the models that have come, and without those that have gone."""
        models = tuple(sorted(self._models.values(), key=lambda model: model.name))
        return dataclasses.replace(self._scenario, models=models)

    @property
    def book(self) -> Book:
        """Return who is where; it is not to be changed from outside."""
        return self._book

    def placement(self) -> Placement:
        """Return where everything is now."""
        return self._book.placement()

    def left_bytes(self, shard: str, device: int) -> int:
        """Return the memory of a device that is left, with what loading may take set aside.

        Raises
        ------
        KeyError
            No such shard is open.
        """
        board, row = self._book.board, self._book.row_of[shard]
        cell = board.cells[int(board.rows[row, FIRST]) + device]
        return int(cell[MEMORY_LEFT] - cell[PEAK_SUM])

    def missing(self, name: str) -> tuple[int, ...]:
        """Return the replicas of a model that have no place."""
        placed = self._book.residents.get(name, {})
        return tuple(number for number in range(self._models[name].replicas) if number not in placed)

    # ---------------------------------------------------------------------------------------------- changes

    def place(self, model: Model) -> Outcome:
        """Find places for all replicas of a model that have none.

        A model that the scenario does not have is taken into it. One that has to be together with others is
        placed with all of them or not at all.

        Parameters
        ----------
        model
            Which. One of the same name is replaced if nothing of it is placed.

        Raises
        ------
        ValueError
            Another model of the name is placed, the scenario does not know its backend, or it is new and
            those that it has to be together with are placed already.
        """
        self._admit(model)
        members = [model.name]
        if model.together is not None:
            members = sorted(self._groups[model.together], key=lambda name: (-self._size(name), name))
        asked = {name: self._ways(self._models[name]) for name in members}
        placed: list[Placed] = []
        refused: dict[str, int] = {}
        found: tuple[Obstacle, ...] = ()
        for replica in sorted({number for name in members for number in self.missing(name)}):
            places = self._place_together(asked, replica)
            if places is not None:
                placed += [item.placed for item in places]
                continue
            for name in members:
                if replica in self.missing(name):
                    refused[name] = refused.get(name, 0) + 1
            where = self._where(model, replica)
            found = found or obstacles(self._book, model, asked[model.name], where)
        return Outcome(
            placed=tuple(placed),
            refused=tuple(
                refusal_of(self._models[name], count, found, len(members)) for name, count in refused.items()
            ),
            obstructed=model.name if refused else None,
            obstacles=found,
        )

    def remove(self, name: str) -> tuple[Placed, ...]:
        """Let a model go, out of the plan and the scenario; returns where it was.

        Raises
        ------
        KeyError
            There is no such model.
        """
        model = self._models.pop(name)
        if model.together is not None:
            self._groups[model.together].discard(name)
        gone = list(self._book.residents.get(name, {}).values())
        for resident in gone:
            self._take_out(resident)
        self._book.residents.pop(name, None)
        return tuple(resident.placed for resident in gone)

    def place_replica(self, model: Model, replica: int, *, shard: str | None = None) -> Placed | None:
        """Find a place for one replica of a model; None, and no change, if nothing takes it.

        Its other replicas stay as they were booked, whatever the model asked for then, and those that it has
        to be together with where they are.

        Parameters
        ----------
        model, replica
            Which; it has no place yet.
        shard
            The only one that it may be on; None is any.

        Raises
        ------
        KeyError
            No such shard is open.
        ValueError
            The scenario does not know its backend.
        """
        if not self._book.asker.knows(model):
            raise ValueError(f"model {model.name!r}: the scenario has no backend {model.backend!r}")
        self._know(model)
        only = ANYWHERE if shard is None else self._book.row_of[shard]
        found = self._place_one(model, self._ways(model), replica, only)
        return None if found is None else found.placed

    def seat(self, model: Model, placed: Placed) -> None:
        """Book a replica in where it is known to be, whether it fits there or not.

        Raises
        ------
        KeyError
            The shard is not open.
        IndexError
            The shard has no such device, or the model no such footprint.
        """
        self._know(model)
        self._book.add(model, placed)
        self._remeasure(self._book.row_of[placed.shard])

    def unseat(self, name: str, replica: int) -> Placed:
        """Book one replica out; the model stays known.

        Raises
        ------
        KeyError
            It is not placed.
        """
        resident = self._book.residents[name][replica]
        self._take_out(resident)
        return resident.placed

    def forget(self, name: str) -> None:
        """Know nothing any more of a model without a place, if anything was known."""
        if name in self._models and not self._book.residents.get(name):
            self.remove(name)

    def open(self, *shards: Shard) -> None:
        """Take empty shards into the plan; whether they may be opened is the caller's to know."""
        before = len(self._book.shards)
        self._book.open(shards)
        board, old = self._book.board, self._scores
        self._scores = old._replace(
            counts=_longer(old.counts, len(board.cells)),
            sums=_longer(old.sums, len(board.rows)),
            values=_longer(old.values, len(board.rows)),
        )
        measure(board, self._scores, before, len(self._book.shards))

    def close(self, name: str) -> None:
        """Take an empty shard out of the plan.

        Raises
        ------
        KeyError
            It is not open.
        ValueError
            Somebody is on it.
        """
        row, old = self._book.row_of[name], self._scores
        here = self._book.board.rows[row]
        first, last = int(here[FIRST]), int(here[LAST])
        self._book.close(name)
        self._scores = old._replace(
            counts=without(old.counts, first, last),
            sums=without(old.sums, row, row + 1),
            values=without(old.values, row, row + 1),
        )

    def expect(self, models: Iterable[Model]) -> None:
        """Take other models than the scenario's for those that stand for what is to come."""
        ordered = tuple(sorted(models, key=lambda model: model.name))
        problem = make_problem(dataclasses.replace(self._scenario, models=ordered))
        self._scores = make_scores(problem, self._book.board)
        measure(self._book.board, self._scores, 0, len(self._book.shards))

    def obstacles(self, model: Model, replica: int = 0) -> tuple[Obstacle, ...]:
        """Return what stands against a replica, rule by rule; empty where it fits."""
        return obstacles(self._book, model, self._ways(model), self._where(model, replica))

    # ---------------------------------------------------------------------------------------------- inside

    def _admit(self, model: Model) -> None:
        known = self._models.get(model.name)
        if known is not None and known != model and self._book.residents.get(model.name):
            raise ValueError(f"another model {model.name!r} is placed")
        if not self._book.asker.knows(model):
            raise ValueError(f"model {model.name!r}: the scenario has no backend {model.backend!r}")
        others = self._groups.get(model.together or "", set()) - {model.name}
        if known is None and any(self._book.residents.get(name) for name in others):
            raise ValueError(f"model {model.name!r}: its group {model.together!r} is placed already")
        self._know(model)

    def _know(self, model: Model) -> None:
        known = self._models.get(model.name)
        if known is not None and known.together is not None:
            self._groups[known.together].discard(model.name)
        self._models[model.name] = model
        if model.together is not None:
            self._groups.setdefault(model.together, set()).add(model.name)

    def _ways(self, model: Model) -> list[Way]:
        return self._book.asker.ways(model)

    def _size(self, name: str) -> int:
        model = self._models[name]
        return model.devices_per_replica * max(item.steady_bytes.p95 for item in model.footprints)

    def _where(self, model: Model, replica: int) -> Where | None:
        """Return where a replica may be as far as pins and its siblings go; None if its shard is not open."""
        row, device = ANYWHERE, ANYWHERE
        if model.pin is not None and replica == 0:
            row = self._book.row_of.get(model.pin.shard, -2)
            device = ANYWHERE if model.pin.device is None else model.pin.device
            if row < 0 or device >= self._width(row):
                return None
        siblings = self._book.residents.get(model.name, {}).values()
        rows = [self._book.row_of[item.placed.shard] for item in siblings]
        domains = [int(self._book.board.rows[row, DOMAIN]) for row in rows]
        return Where(banned=np.array(domains, dtype=np.int64), row=row, device=device)

    def _width(self, row: int) -> int:
        here = self._book.board.rows[row]
        return int(here[LAST] - here[FIRST])

    def _place_together(self, asked: dict[str, list[Way]], replica: int) -> list[Resident] | None:
        """Place a replica of each of some models on one shard; None, and no change, if no shard takes all."""
        models = [self._models[name] for name in asked]
        if any(model.replicas <= replica or replica not in self.missing(model.name) for model in models):
            return None
        if len(models) == 1:
            found = self._place_one(models[0], asked[models[0].name], replica, ANYWHERE)
            return None if found is None else [found]
        for row in range(len(self._book.shards)):
            added: list[Resident] = []
            for model in models:
                found = self._place_one(model, asked[model.name], replica, row)
                if found is None:
                    break
                added.append(found)
            if len(added) == len(models):
                return added
            for resident in reversed(added):
                self._take_out(resident)
        return None

    def _place_one(self, model: Model, ways: list[Way], replica: int, only: int) -> Resident | None:
        where = self._where(model, replica)
        if where is None or (only != ANYWHERE and where.row not in (ANYWHERE, only)):
            return None
        if only != ANYWHERE:
            where = where._replace(row=only)
        chosen = np.zeros(model.devices_per_replica, dtype=np.int64)
        board = self._book.board
        for way in ways:
            row = choose(board, self._scores, way.ask, where, chosen)
            if row >= 0:
                placed = Placed(
                    model=model.name,
                    replica=replica,
                    shard=self._book.shards[row].name,
                    devices=tuple(int(cell - board.rows[row, FIRST]) for cell in chosen),
                    option=way.options[int(board.rows[row, TYPE])],
                )
                resident = self._book.add(model, placed)
                self._remeasure(row)
                return resident
        return None

    def _take_out(self, resident: Resident) -> None:
        self._book.remove(resident)
        self._remeasure(self._book.row_of[resident.placed.shard])

    def _remeasure(self, row: int) -> None:
        measure(self._book.board, self._scores, row, row + 1)


def _longer(array: Floats, length: int) -> Floats:
    """Return an array with as many rows; those that it lacked are 0."""
    return np.concatenate([array, np.zeros((length - len(array), *array.shape[1:]))])


def place_all(placer: Placer, models: Iterable[Model]) -> Outcome:
    """Place models one after the other, the most important and then the largest first."""
    ordered = sorted(models, key=lambda model: (-model.priority, -_largest(model), model.name))
    outcomes: list[Outcome] = []
    told: set[str] = set()
    for model in ordered:
        if model.name not in told:
            outcome = placer.place(model)
            outcomes.append(outcome)
            told |= {item.model for item in outcome.refused}
    first = next((outcome for outcome in outcomes if outcome.refused), None)
    return Outcome(
        placed=tuple(sorted(item for outcome in outcomes for item in outcome.placed)),
        refused=tuple(
            sorted((item for outcome in outcomes for item in outcome.refused), key=lambda item: item.model)
        ),
        obstructed=first.obstructed if first else None,
        obstacles=first.obstacles if first else (),
    )


def _largest(model: Model) -> int:
    return model.devices_per_replica * max(option.steady_bytes.p95 for option in model.footprints)

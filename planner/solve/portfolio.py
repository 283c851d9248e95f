"""``make_plan``: from a scenario to the best verified plan within a budget."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from planner.domain.difference import count_moves
from planner.domain.placement import Placement
from planner.domain.plan import Bound, Budget, Plan
from planner.domain.policy import Objective
from planner.domain.scenario import Scenario
from planner.domain.services import beside, stand_services, wanted_services
from planner.domain.verify import verify
from planner.errors import InputError, VerificationError
from planner.solve import shares
from planner.solve.balance import balance
from planner.solve.compiled import has_machine_code
from planner.solve.construct import construct, construct_by_priority, extend, suits_fleet
from planner.solve.core.fleet import Fleet
from planner.solve.few_moves import evened, moved, with_moves
from planner.solve.guide import Advice, bound_for, make_advice, proved_bound
from planner.solve.heuristics import count_unplaced, open_required, placed_and_cost, placed_by_priority
from planner.solve.improve import improve_by_rounds
from planner.solve.keeping import close_empty, has_lost, packing_from, packing_like, release_names
from planner.solve.options import PROOF_TIME_A_UNIT, Effort, SolveOptions, default_work
from planner.solve.packing import Packing
from planner.solve.parts import MOST_PARTS, parts_of, united
from planner.solve.placing import place_more
from planner.solve.problem import make_problem
from planner.solve.progress import Progress
from planner.solve.refuse import refusals
from planner.solve.result import from_base, placement_of, plan_of
from planner.solve.scarce import is_scarce, thrifty_packings
from planner.solve.services import with_services
from planner.solve.stand_in import stand_ins_for
from planner.solve.watch import Clock, Watch

if TYPE_CHECKING:
    from planner.solve.exact.assign import Assigned


_DEFAULT_OPTIONS = SolveOptions()

ASSIGN_METHOD, MIX_METHOD, CONFIGURATION_METHOD = "cp-sat", "shard-mix", "configuration-lp"


def make_plan(
    scenario: Scenario,
    options: SolveOptions = _DEFAULT_OPTIONS,
    *,
    base: Plan | None = None,
    progress: Callable[[Progress], None] | None = None,
    clock: Clock = time.monotonic,
) -> Plan:
    """Return the best verified plan that the budget finds.

    Parameters
    ----------
    scenario
        What is asked, and what there is.
    options
        Seed and budget.
    base
        A plan of an earlier version of the scenario: what still holds of it is kept, unless something better
        in the order of ``policy.objective`` is found.
    progress
        Told about every phase and improvement.
    clock
        For the safety stop.

    Raises
    ------
    InputError
        ``minCount`` asks for shards that the scenario's own limits or nodes forbid, or there is no room for
        the services of the transformers.
    VerificationError
        The solver made a plan that breaks a rule: a bug.
    """
    earlier = () if base is None else base.services
    standing = stand_services(scenario, wanted_services(scenario), earlier=earlier)
    left = beside(scenario, standing)
    plan = _Search(left, options, base=base, progress=progress, clock=clock).run()
    if standing:
        plan = with_services(plan, scenario, standing)
    broken = verify(scenario, plan, scenario_sha256=plan.scenario_sha256)
    if broken:
        raise VerificationError("the solver made an illegal plan: " + "; ".join(map(str, broken[:5])))
    return plan


class _Search:
    """One search: the problem, the advice, and the packings that compete."""

    def __init__(  # noqa: PLR0913 - what ``make_plan`` is given, and whether it starts cold
        self,
        scenario: Scenario,
        options: SolveOptions,
        *,
        base: Plan | None,
        progress: Callable[[Progress], None] | None,
        clock: Clock,
        within: bool = False,
    ) -> None:
        """``within`` says that it is part of another search, which has loaded what takes long."""
        self.options, self.base, self.progress, self.clock = options, base, progress, clock
        self.stands_in = False  # for another scenario: then nothing stands in for it, and it has no parts
        self.watch = Watch(clock, options.time_limit_ms)
        self.bound: Bound | None = None
        self.at_least = 0  # moves of the base that cannot be avoided
        self.most_moves: int | None = None  # what is allowed; with a repair, what that takes
        self._bounds: dict[tuple[int, ...], Bound] = {}
        self._complete: Bound | None = None  # of placing everything
        self._tell("read", None)
        self.problem = make_problem(scenario)
        finishing_s = shares.FINISHING_S_A_UNIT * len(self.problem.units)
        left = self.watch.reserve(shares.FINISHING_RATIO, least_s=finishing_s)
        self.budget = options.work or default_work(len(self.problem.units))
        self.work = self.budget
        self.proof_work = self.budget * PROOF_TIME_A_UNIT
        self.starting_s = (0.0 if within else shares.STARTING_S) + shares.STARTING_S_A_UNIT * len(
            self.problem.units
        )
        limit_s = self.watch.left_s()
        pricing_s = shares.PRICING_S + shares.PRICING_S_A_UNIT * len(self.problem.units)
        hurry = limit_s is not None and limit_s < pricing_s
        if (
            left is not None
            and limit_s is not None
            and (left < shares.RELAXING_RATIO or (limit_s < shares.RELAXING_S and not within))
        ):
            limit_s = 0.0
        if not has_machine_code():
            self._tell("compile (the first run only)", None)
        self.advice: Advice = make_advice(self.problem, limit_s, hurry=hurry)
        self.problem = self.advice.problem

    def run(self) -> Plan:
        candidates: list[Packing] = []
        if self.base is not None:
            with suppress(InputError):  # shards that are asked for now may not fit beside what is kept
                candidates = self._near(self.base.placement)
        if not candidates or self._wants_fresh(candidates[0]):
            candidates.append(self._in_parts() or self._anew())
        known = min(candidates, key=placed_and_cost)
        found = self._assigned(known)
        if found is not None:
            candidates.append(found.packing)
        best = min(self._allowed(candidates), key=self._rank)
        if found is not None and placed_by_priority(best) != placed_by_priority(found.packing):
            found = None  # it speaks of plans with more moves
        self.bound = bound = self._proved(best, found)
        self._tell("prove", best)
        if "balance" in self.problem.scenario.policy.objective:
            best = self._balanced(best)
        return self._plan(best, bound, most_placed=found is not None and found.most_placed)

    # -------------------------------------------------------------------------------------------- proofs

    def _assigned(self, packing: Packing) -> Assigned | None:
        """Return what CP-SAT finds where it may find something: not if a packing is perfect, or large."""
        if len(self.problem.units) > shares.ASSIGNED_UNITS or self._is_perfect(packing):
            return None
        if self.watch.is_over(self.starting_s):
            return None
        from planner.solve.exact.assign import assign  # ortools takes seconds to import

        self._tell("assign", packing)
        ratio = shares.LEFT_OUT_RATIO if count_unplaced(packing) else 1.0
        found = assign(packing, effort=self._effort(self.proof_work * ratio))
        self.watch.is_over()
        return found

    def _proved(self, packing: Packing, found: Assigned | None) -> Bound:
        """Return the best bound of what a packing places that the budget allows."""
        known = self._known_bound(packing)
        if found is not None:
            cost = found.bound_microusd_per_h
            if cost is None or cost <= known.microusd_per_h:
                return known
            return Bound(microusd_per_h=cost, method=ASSIGN_METHOD)
        if self.watch.is_over():
            return known
        self._tell("prove", packing)
        bound = proved_bound(packing, self.advice, known, self._effort(self.proof_work))
        self.watch.is_over()
        return bound

    def _effort(self, deterministic_time: float) -> Effort:
        return Effort(
            deterministic_time=deterministic_time,
            limit_s=self.watch.left_s(),
            workers=self.options.workers,
            seed=self.options.seed,
        )

    def _is_perfect(self, packing: Packing) -> bool:
        """Return whether all is placed at the bound, with no replica moved that was placed before."""
        if count_unplaced(packing) or packing.cost > self._known_bound(packing).microusd_per_h:
            return False
        return self.base is None or count_moves(self.base.placement, placement_of(packing)) <= self.at_least

    def _is_settled(self, packing: Packing) -> bool:
        """Return whether no other plan need be looked for: it is perfect, or moves least where that matters.

        A plan made anew moves nearly everything, so it is not tried where moves come before cost.
        """
        order = self.problem.scenario.policy.objective
        if self.base is None or not _is_before("moves", "cost", order):
            return self._is_perfect(packing)
        moves = count_moves(self.base.placement, placement_of(packing))
        return not count_unplaced(packing) and moves <= self.at_least

    def _known_bound(self, packing: Packing) -> Bound:
        placed = placed_by_priority(packing)
        if placed not in self._bounds:
            bound = bound_for(self.problem, self.advice, placed)
            if self._complete is not None and not count_unplaced(packing):
                bound = max(bound, self._complete, key=_cost_of)
            self._bounds[placed] = bound
        return self._bounds[placed]

    # ------------------------------------------------------------------------------------------ candidates

    def _near(self, base: Placement) -> list[Packing]:
        """Return what keeps an earlier plan: all of it that still holds, and what may move for less cost."""
        kept = self._improve(self._kept(base), self.budget // 4)
        if self.options.max_moves is not None:
            return self._within(kept, base, self.options.max_moves)
        if self._is_settled(kept):
            return [kept]
        loose = self._kept(base)
        release_names(loose)
        return [kept, self._improve(loose, self.budget // 2)]

    def _within(self, kept: Packing, base: Placement, most_moves: int) -> list[Packing]:
        """Return what keeps an earlier plan, and what the moves that are allowed make of it."""
        self._place_more(kept)
        self.most_moves = max(most_moves, moved(kept, base))
        if self._is_settled(kept):
            return [kept]
        return [kept, *with_moves(kept, base, most_moves=most_moves, watch=self.watch, tell=self._tell)]

    def _wants_fresh(self, kept: Packing) -> bool:
        """Return whether a plan made anew may be better: not where its moves are too many beforehand."""
        base, most = self.base, self.most_moves
        if base and most is not None and not (count_unplaced(kept) and len(base.placement.placed) <= most):
            return False
        return not self._is_settled(kept)

    def _balanced(self, packing: Packing) -> Packing:
        """Return a packing of the same shards, more even, by the moves that are left if there is a limit."""
        order, most_moves = self.problem.scenario.policy.objective, self.options.max_moves
        if self.base is None or most_moves is None or not _is_before("balance", "moves", order):
            balance(packing, fixed=self._settled(), watch=self.watch)
            return packing
        return evened(packing, self.base.placement, most_moves=most_moves)

    def _anew(self) -> Packing:
        """Return what is made of nothing."""
        made, fleet = self._fresh()
        carried = None if self._is_perfect(made) else self._carried()
        if carried is not None and self._better(made, carried) is carried:
            made, fleet = carried, None
        if fleet is not None and len(self.problem.units) > shares.IMPROVED_UNITS:
            divisor = shares.APART_DIVISOR if fleet.was_apart else shares.IMPROVED_DIVISOR
            made = self._improve(made, fleet.spent + self.work // divisor, fleet)
        fresh = self._patterned(self._mixed(made))
        fresh = self._improve(fresh, self.work, fleet if fresh is made else None)
        self._place_more(fresh)
        return fresh

    def _carried(self) -> Packing | None:
        """Return the best of what scenarios make that stand for this one; None without any, or time."""
        found: list[Packing] = []
        stands_in = () if self.stands_in else stand_ins_for(self.problem.scenario, self.advice)
        for number, stand_in in enumerate(stands_in):
            if not self._has_time_to_stand_in():
                self.watch.stopped = True
                break
            inner = self._search(stand_in.scenario, shares.STAND_IN_RATIO / (2 - number), stands_in=True)
            try:
                made = inner._anew()  # noqa: SLF001 - a search, too
                packing = stand_in.packing(self.problem, placement_of(made))
                open_required(packing)
            except InputError:
                continue
            finally:
                self.watch.stopped |= inner.watch.stopped
            waiting = [unit for unit, row in enumerate(packing.row_of_unit) if row is None]
            packing, _ = extend(packing, waiting, self.advice, seed=self.options.seed, watch=self.watch)
            close_empty(packing)
            self._tell("carry over", packing)
            found.append(packing)
        return min(found, key=placed_and_cost, default=None)

    def _has_time_to_stand_in(self) -> bool:
        """Return whether there is time for a stand-in; of few units, as well for CP-SAT, which does more."""
        left_s = self.watch.left_s()
        few = len(self.problem.units) <= shares.ASSIGNED_UNITS
        kept = shares.STAND_IN_RATIO if few else 0.0
        return left_s is None or (1.0 - kept) * left_s > self.starting_s

    def _in_parts(self) -> Packing | None:
        """Return plans of parts that have nothing to do with each other as one, and keep their bound."""
        parts = () if self.stands_in else parts_of(self.problem)
        left_s = self.watch.left_s()
        needed_s = shares.PART_S * len(parts) + shares.PART_S_A_UNIT * len(self.problem.units)
        if not 1 < len(parts) <= MOST_PARTS:
            return None
        if left_s is not None and left_s < needed_s:
            self.watch.stopped = True
            return None
        plans = []
        for number, part in enumerate(parts):
            self._tell("plan parts", None)
            try:
                plans.append(self._search(part, shares.PARTS_RATIO / (len(parts) - number)).run())
            except InputError:  # told of the whole, which numbers its types
                return None
        self.watch.stopped |= any(plan.stopped_by_clock for plan in plans)
        packing = packing_like(self.problem, united(parts, [plan.placement for plan in plans]), {})
        self._tell("plan parts", packing)
        if not count_unplaced(packing):
            bounds = [plan.bound for plan in plans if plan.bound]
            self._raise(sum(map(_cost_of, bounds)), max(bounds, key=_cost_of).method)
        return packing

    def _search(self, scenario: Scenario, ratio: float, *, stands_in: bool = False) -> _Search:
        """Return a search for a scenario that is part of this one, with part of the time."""
        left_s = self.watch.left_s()
        units = sum(model.replicas for model in scenario.models)
        options = dataclasses.replace(
            self.options,
            work=max(1, round(self._part() * default_work(units))),
            time_limit_ms=None if left_s is None else max(1, int(1000 * ratio * left_s)),
            max_moves=None,
        )
        inner = _Search(scenario, options, base=None, progress=None, clock=self.clock, within=True)
        inner.stands_in = stands_in
        return inner

    def _fresh(self) -> tuple[Packing, Fleet | None]:
        problem, seed = self.problem, self.options.seed

        def tell(cost: int, refused: int) -> None:
            self._say("improve parts", cost, refused)

        best, fleet = construct(problem, self.advice, seed=seed, watch=self.watch, work=self.work, tell=tell)
        self._tell("construct", best)
        if count_unplaced(best) and len({unit.priority for unit in problem.units}) > 1:
            other = construct_by_priority(problem, self.advice, seed=seed, watch=self.watch)
            self._tell("construct", other)
            if self._better(best, other) is other:
                best, fleet = other, None
        if count_unplaced(best) and len(problem.units) <= shares.SCARCE_UNITS and is_scarce(problem.scenario):
            for other in thrifty_packings(problem, self.advice, seed=seed, watch=self.watch):
                self._tell("construct", other)
                if self._better(best, other) is other:
                    best, fleet = other, None
        return best, fleet

    def _mixed(self, packing: Packing) -> Packing:
        """Return everything in the cheapest mix of shards that is found, and keep the mixes' bound."""
        units = len(self.problem.units)
        if (
            units > shares.MIXED_UNITS
            or count_unplaced(packing)
            or not suits_fleet(self.problem, self.advice)
        ):
            return packing
        if self._is_perfect(packing) or self.watch.is_over(self.starting_s):
            return packing
        from planner.solve.mixes.search import search  # ortools takes seconds to import

        self._tell("mixes", packing)
        work = shares.MIXED_WORK * self.budget // default_work(units)
        if self._suits_patterns(packing):
            work //= shares.MIXED_DIVISOR
        known, effort = self._known_bound(packing).microusd_per_h, self._effort(shares.MIX_TIME)
        found = search(packing, self.advice, at_least=known, work=work, effort=effort, watch=self.watch)
        self._raise(found.bound_microusd_per_h, MIX_METHOD)
        if found.walked:
            self.work //= shares.WALKED_DIVISOR
        return found.packing

    def _part(self) -> float:
        """Return which part of the work of nothing said may be spent, at most all of it."""
        return min(1.0, self.budget / default_work(len(self.problem.units)))

    def _suits_patterns(self, packing: Packing) -> bool:
        types = max(1, len(self.advice.guide.types))
        return types * len(self.problem.units) <= shares.PATTERNED_UNITS_A_SHARD * len(packing.open_rows())

    def _patterned(self, packing: Packing) -> Packing:
        """Return what column generation makes of a packing, and keep its bound."""
        if not self._suits_patterns(packing) or self._is_perfect(packing):
            return packing
        if self.watch.is_over(self.starting_s):
            return packing
        from planner.solve.patterns.search import search  # ortools takes seconds to import

        self._tell("patterns", packing)
        found = search(
            packing, work=shares.PATTERN_WORK * self._part(), seed=self.options.seed, watch=self.watch
        )
        if found is None:
            return packing
        known = self._known_bound(packing).microusd_per_h
        if found.packing is not None or found.bound_microusd_per_h > known:
            self.work //= shares.PATTERNED_DIVISOR
        self._share(max(0.0, shares.TOGETHER_WORK - found.spent))
        self._raise(found.bound_microusd_per_h, CONFIGURATION_METHOD)
        return found.packing or packing

    def _raise(self, cost: int, method: str) -> None:
        """Keep a bound of placing everything, if it is better than the one that is known."""
        found = Bound(microusd_per_h=cost, method=method)
        self._complete = found if self._complete is None else max(self._complete, found, key=_cost_of)
        self._bounds.clear()

    def _share(self, left: float) -> None:
        """Let the improvement and CP-SAT, where it is asked, spend no more than what is left."""
        asked = len(self.problem.units) <= shares.ASSIGNED_UNITS
        self.proof_work = min(self.proof_work, left / 2)
        self.work = min(self.work, int(left / (1 + asked) / shares.IMPROVING_WORK))

    def _better(self, one: Packing, other: Packing) -> Packing:
        return min((one, other), key=placed_and_cost)

    def _kept(self, base: Placement) -> Packing:
        """Return what still holds of the earlier plan, with what is new in it."""
        packing = packing_from(self.problem, base)
        if has_lost(packing, base):
            from planner.solve.repair.plans import repair  # machine code takes long to make the first time

            repaired = repair(self.problem, base)
            self.at_least = repaired.at_least
            packing = packing_from(self.problem, repaired.placement)
        open_required(packing)
        waiting = [unit for unit, row in enumerate(packing.row_of_unit) if row is None]
        packing, _ = extend(packing, waiting, self.advice, seed=self.options.seed, watch=self.watch)
        close_empty(packing)
        self._tell("keep", packing)
        return packing

    def _settled(self) -> frozenset[int]:
        """Return the units that were placed before, where moves are worse than imbalance."""
        order = self.problem.scenario.policy.objective
        if self.base is None or not _is_before("moves", "balance", order):
            return frozenset()
        known = {(item.model, item.replica) for item in self.base.placement.placed}
        models = self.problem.scenario.models
        return frozenset(
            unit
            for unit, one in enumerate(self.problem.units)
            if any((models[model].name, one.replica) in known for model in one.members)
        )

    def _improve(self, packing: Packing, work: int, fleet: Fleet | None = None) -> Packing:
        """Spend some work on rounds of improvement, or less where the bound is met or nothing helps."""
        self.bound = bound = self._known_bound(packing)
        if not suits_fleet(self.problem, self.advice):
            self._improve_by_rounds(packing, work)
            return packing
        if packing.cost <= bound.microusd_per_h or self.watch.is_over(self.starting_s):
            return packing
        if fleet is None:
            fleet = Fleet(packing, self.advice, seed=self.options.seed, watch=self.watch)
        if not fleet.can_improve():
            return packing
        idle = 0
        while fleet.cost > bound.microusd_per_h and fleet.spent < work and idle < shares.PATIENCE:
            if self.watch.is_over():
                break
            idle = 0 if fleet.improve() else idle + 1
            if not idle:
                self._say("improve", fleet.cost, count_unplaced(packing))
        packing = fleet.packing()
        self._tell("improve", packing)
        return packing

    def _improve_by_rounds(self, packing: Packing, work: int) -> None:
        """Improve what the compiled search does not take, one round a unit of work."""
        large = len(self.problem.units) > shares.LARGE_UNITS
        improve_by_rounds(
            packing,
            self.advice,
            at_least=lambda: self._known_bound(packing).microusd_per_h,
            rounds=min(work, shares.LARGE_ROUNDS) if large else work,
            seed=self.options.seed,
            watch=self.watch,
        )
        self._tell("improve", packing)

    def _place_more(self, packing: Packing) -> None:
        """Look for room for what is left out."""
        if count_unplaced(packing):
            rounds = shares.PLACING_ROUNDS * self.budget
            place_more(packing, self.advice, rounds=rounds, seed=self.options.seed, watch=self.watch)
            self._tell("place more", packing)

    # --------------------------------------------------------------------------------------------- results

    def _rank(self, packing: Packing) -> tuple[object, ...]:
        """Return what is smaller for the better packing, in the order of the policy's objective."""
        moves = 0 if self.base is None else moved(packing, self.base.placement)
        placed = tuple(-count for count in placed_by_priority(packing))
        parts = {"placed": placed, "cost": packing.cost, "moves": moves, "balance": 0}
        most = self.options.max_moves
        too_many = 0 if most is None else max(0, moves - most)
        first, *rest = (parts[name] for name in self.problem.scenario.policy.objective)
        return (first, too_many, *rest)

    def _allowed(self, candidates: list[Packing]) -> list[Packing]:
        """Return the packings that move no more than is allowed, or than the repair takes."""
        if self.base is None or self.most_moves is None:
            return candidates
        return [one for one in candidates if moved(one, self.base.placement) <= self.most_moves]

    def _tell(self, phase: str, packing: Packing | None) -> None:
        if packing is None:
            self._say(phase, None, 0)
        else:
            self._say(phase, packing.cost, count_unplaced(packing))

    def _say(self, phase: str, cost: int | None, refused: int) -> None:
        if self.progress is None:
            return
        bound = None if self.bound is None else self.bound.microusd_per_h
        self.progress(
            Progress(phase=phase, cost_microusd_per_h=cost, bound_microusd_per_h=bound, refused=refused)
        )

    def _plan(self, packing: Packing, bound: Bound, *, most_placed: bool) -> Plan:
        refused = refusals(packing, stopped=self.watch.stopped and not most_placed)
        if most_placed:
            refused = tuple(dataclasses.replace(item, proven=True) for item in refused)
        options = self.options
        plan = plan_of(
            packing,
            bound,
            refused,
            Budget(work=self.budget, time_limit_ms=options.time_limit_ms, workers=options.workers),
        )
        plan = dataclasses.replace(plan, seed=options.seed, stopped_by_clock=self.watch.stopped)
        return plan if self.base is None else from_base(plan, self.problem.scenario, self.base, self.at_least)


def _is_before(one: Objective, other: Objective, order: tuple[Objective, ...]) -> bool:
    """Return whether an objective matters more than another; one that is not named matters least."""
    return one in order and (other not in order or order.index(one) < order.index(other))


def _cost_of(bound: Bound) -> int:
    return bound.microusd_per_h

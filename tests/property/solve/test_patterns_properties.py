"""Pricing finds the best pattern, and the configuration bound is one, whatever the values."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.domain.scenario import Scenario
from planner.domain.verify import verify_placement
from planner.solve.construct import construct
from planner.solve.guide import make_advice
from planner.solve.packing import Packing
from planner.solve.patterns.bound import SCALE, configuration_bound
from planner.solve.patterns.knapsack import make_knapsack, shares_of
from planner.solve.patterns.pricing import fill, list_full, search_each
from planner.solve.patterns.search import search
from planner.solve.patterns.sites import Site, make_classes
from planner.solve.problem import Ints, make_problem
from planner.solve.result import placement_of
from planner.solve.watch import Watch
from tests.support.sites import fits, patterns, sites
from tests.support.small_scenarios import least_cost, scenarios, tiny_scenarios

_SLOW = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
AMPLE_WORK = 10**9


def values_of(site: Site, seed: int) -> Ints:
    return np.random.default_rng(seed).integers(0, 100, len(site.most))


def counts_of(site: Site, places: Ints) -> list[int]:
    return [int((places == number).sum()) for number in range(len(site.most))]


@settings(_SLOW, max_examples=300)
@given(sites(), st.integers(0, 100), st.sampled_from((0, 3, 20, AMPLE_WORK)))
def test_pricing_finds_the_best_pattern_or_bounds_it(site: Site, seed: int, limit: int) -> None:
    values = values_of(site, seed)
    best = max(int(np.dot(counts, values)) for counts in patterns(site))
    known, knapsack = make_knapsack(site, values, shares_of(site), site.most)
    worth, sizes, found, bound, _ = search_each(knapsack, 1, 0, limit, limit)
    assert bound >= best
    for number, size in enumerate(sizes):
        counts = counts_of(site, known[found[number, :size]])
        assert fits(site, counts)
        assert int(np.dot(counts, values)) == worth[number]
    if limit == AMPLE_WORK:
        assert max(worth, default=0) == best == bound


@settings(_SLOW, max_examples=200)
@given(sites(), st.integers(0, 100))
def test_pricing_finds_the_best_pattern_with_each_class(site: Site, seed: int) -> None:
    values = values_of(site, seed)
    known, knapsack = make_knapsack(site, values, shares_of(site), site.most)
    worth, *_ = search_each(knapsack, 0, 0, AMPLE_WORK, AMPLE_WORK)
    for number, of_class in enumerate(known):
        having = [int(np.dot(counts, values)) for counts in patterns(site) if counts[of_class]]
        assert worth[number] == max(having, default=0)


@settings(_SLOW, max_examples=200)
@given(sites(), st.integers(0, 100))
def test_filling_packs_all_that_fits_alone_into_legal_patterns(site: Site, seed: int) -> None:
    demand = np.random.default_rng(seed).integers(1, 4, len(site.most))
    values = np.maximum(1, shares_of(site).sum(axis=1))
    known, knapsack = make_knapsack(site, values, shares_of(site), demand)
    sizes, found = fill(knapsack, np.arange(len(known)), demand[known], 100)
    packed = np.zeros(len(site.most), dtype=np.int64)
    for size, pattern in zip(sizes, found, strict=True):
        counts = counts_of(site, known[pattern[:size]])
        assert fits(site, counts)
        packed += counts
    for of_class, count in enumerate(demand):
        alone = [int(number == of_class) for number in range(len(demand))]
        assert packed[of_class] == (count if fits(site, alone) else 0)


@settings(_SLOW, max_examples=200)
@given(sites(), st.integers(0, 100), st.integers(0, 150))
def test_the_full_patterns_above_a_floor_are_all_listed_once(site: Site, seed: int, floor: int) -> None:
    values = np.maximum(1, values_of(site, seed))
    every = set(patterns(site))
    wanted = {
        counts
        for counts in every
        if any(counts)
        and int(np.dot(counts, values)) > floor
        and not any(_and_one_more(counts, number) in every for number in range(len(counts)))
    }
    known, knapsack = make_knapsack(site, values, shares_of(site), site.most)
    sizes, found, complete, _ = list_full(knapsack, floor, len(every), AMPLE_WORK)
    listed = [tuple(counts_of(site, known[found[number, :size]])) for number, size in enumerate(sizes)]
    assert complete
    assert sorted(listed) == sorted(wanted)


def _and_one_more(counts: tuple[int, ...], number: int) -> tuple[int, ...]:
    return (*counts[:number], counts[number] + 1, *counts[number + 1 :])


@_SLOW
@given(tiny_scenarios(), st.integers(0, 1000))
def test_the_bound_is_one_whatever_the_values(scenario: Scenario, seed: int) -> None:
    problem = make_problem(scenario)
    placed, cost = least_cost(scenario)
    if placed < len(scenario.models):
        return
    classes, rng = make_classes(problem), np.random.default_rng(seed)
    values = rng.integers(0, SCALE, len(classes.units))
    worth = [max(int(np.dot(counts, values)) for counts in patterns(site)) for site in classes.sites]
    assert configuration_bound(classes, values, worth) <= cost


@_SLOW
@given(scenarios())
def test_what_is_found_is_legal_cheaper_and_not_below_the_bound(scenario: Scenario) -> None:
    problem = make_problem(scenario)
    watch = Watch(time.monotonic)
    known, _ = construct(problem, make_advice(problem), seed=0, watch=watch)
    found = search(known, work=0.2, seed=0, watch=watch)
    if found is None:
        return
    best: Packing = found.packing or known
    assert verify_placement(scenario, placement_of(best)) == ()
    assert found.bound_microusd_per_h <= best.cost <= known.cost
    assert found.packing is None or best.cost < known.cost


@settings(_SLOW, max_examples=40)
@given(tiny_scenarios())
def test_the_bound_of_a_search_is_never_above_the_optimum(scenario: Scenario) -> None:
    problem, watch = make_problem(scenario), Watch(time.monotonic)
    known, _ = construct(problem, make_advice(problem), seed=0, watch=watch)
    found = search(known, work=1.0, seed=0, watch=watch)
    placed, cost = least_cost(scenario)
    if found is not None and placed == len(scenario.models):
        assert found.bound_microusd_per_h <= cost

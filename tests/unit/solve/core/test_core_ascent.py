"""Dual prices of every kind: never worse than those of clusters, and overheads paid in full."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from planner.solve.bounds import DualPrices, bound_of
from planner.solve.clusters import make_clusters
from planner.solve.compiled import has_machine_code
from planner.solve.core.ascent import as_dual, ascend, cheapest_types, inflate, levelled, use
from planner.solve.exact.fluid import solve_fluid
from planner.solve.guide import bound_for, make_advice
from planner.solve.problem import Problem, make_problem
from planner.solve.relaxation import SCALE, Relaxation, make_relaxation
from tests.support.fleets import a_fleet

_MOST = 1e12


def weights_of(problem: Problem) -> np.ndarray:
    """Replicas of each kind."""
    kinds = len(problem.modes[0].allowed)
    return np.bincount(problem.kind[problem.seat_model], minlength=kinds).astype(np.float64)


def bound(problem: Problem, relaxation: Relaxation, prices: DualPrices) -> int:
    """The exact bound of placing everything."""
    kinds = problem.kind[problem.seat_model]
    return bound_of(relaxation, prices, [kinds], (len(kinds),))


@pytest.mark.parametrize("correlated", [True, False])
def test_prices_of_few_clusters_become_as_good_as_those_of_many(*, correlated: bool) -> None:
    problem = make_problem(a_fleet(600, seed=105, correlated=correlated))
    relaxation, weights = make_relaxation(problem), weights_of(problem)
    found = []
    for most in (20, 10_000):
        clusters = make_clusters(relaxation, weights, problem.kind_backend, most)
        fluid = solve_fluid(relaxation, clusters, weights)
        assert fluid is not None
        found.append(fluid.prices)
    rough, best = (bound(problem, relaxation, prices) for prices in found)
    risen = bound(problem, relaxation, ascend(relaxation, found[0], weights, _MOST))
    assert rough < risen <= best
    assert best - risen < 0.2 * (best - rough)


@pytest.mark.parametrize("correlated", [True, False])
def test_without_the_engine_the_bound_is_nearly_as_good(*, correlated: bool) -> None:
    problem = make_problem(a_fleet(600, seed=105, correlated=correlated))
    placed = (int(sum(model.replicas for model in problem.scenario.models)),)
    assert has_machine_code()
    quick, whole = (
        bound_for(problem, make_advice(problem, limit), placed).microusd_per_h for limit in (0, None)
    )
    assert quick > 0.97 * whole


def test_the_cheapest_type_of_a_kind_is_one_that_it_is_allowed_on() -> None:
    problem = make_problem(a_fleet(200, seed=109, correlated=False))
    relaxation, advice = make_relaxation(problem), make_advice(problem)
    found = cheapest_types(relaxation, advice.prices)
    shares = inflate(relaxation, advice.prices).shares
    for kind, one in enumerate(found):
        cost = [
            min(float(row @ price) for row in rows[:, kind] if np.isfinite(row).all())
            if np.isfinite(rows[:, kind]).all(axis=1).any()
            else np.inf
            for rows, price in zip(shares, advice.prices.dimensions, strict=True)
        ]
        assert cost[one] == pytest.approx(min(cost))
        assert np.isfinite(cost[one])


def test_what_is_allowed_nowhere_is_cheapest_nowhere() -> None:
    relaxation = make_relaxation(make_problem(a_fleet(60, seed=106)))
    nowhere = Relaxation(
        types=tuple(dataclasses.replace(t, allowed=np.zeros_like(t.allowed)) for t in relaxation.types)
    )
    prices = make_advice(make_problem(a_fleet(60, seed=106))).prices
    assert (cheapest_types(nowhere, prices) == -1).all()


def test_without_prices_there_is_no_harm() -> None:
    problem = make_problem(a_fleet(60, seed=106))
    relaxation = make_relaxation(problem)
    nothing = DualPrices(
        dimensions=np.zeros((5, relaxation.types[0].demand.shape[2])),
        links=tuple(np.zeros((len(t.overheads), t.demand.shape[2])) for t in relaxation.types),
    )
    risen = ascend(relaxation, nothing, weights_of(problem), _MOST)
    assert bound(problem, relaxation, risen) > 0


def test_members_pay_for_an_overhead_what_it_is_worth_where_they_fill_its_room() -> None:
    problem = make_problem(a_fleet(200, seed=107))
    relaxation, advice = make_relaxation(problem), make_advice(problem)
    inflated = inflate(relaxation, advice.prices)
    dual = as_dual(relaxation, inflated, advice.prices.dimensions)
    for item, prices, links in zip(relaxation.types, dual.dimensions, dual.links, strict=True):
        for overhead, link in zip(item.overheads, links, strict=True):
            worth = float(overhead.cost @ prices)
            assert float(overhead.room @ link) == pytest.approx(worth, rel=1e-6, abs=1e-6 * SCALE)


def test_a_sample_of_the_kinds_is_inflated_like_all() -> None:
    problem = make_problem(a_fleet(200, seed=108))
    relaxation, advice = make_relaxation(problem), make_advice(problem)
    some = np.array([3, 5, 8])
    every = inflate(relaxation, advice.prices).shares
    np.testing.assert_array_equal(inflate(relaxation, advice.prices, some).shares, every[:, :, some])


def test_what_is_used_is_where_it_is_cheap_and_what_is_too_dear_is_refused() -> None:
    shares = np.array([[[[0.5]], [[0.1]]], [[[0.2]], [[np.inf]]], [[[np.inf]], [[np.inf]]]])
    prices, used = np.array([[1.0], [1.0]]), np.zeros((2, 1))
    assert use(shares, np.array([1.0, 2.0, 1.0]), prices, 3.0, 1e-3, used) == pytest.approx(0.1 + 0.4 + 3.0)
    np.testing.assert_allclose(used, [[0.4], [0.1]])


def test_levelled_prices_add_up_and_count_only_where_anything_is_taken() -> None:
    level = levelled(np.array([[0.0, 1.0, 5.0]]), np.array([10.0]), np.array([[1.0, 1.0, 0.0]]), 0.1)
    np.testing.assert_allclose(level, [[5.0, 5.0, 0.0]])


def test_the_bound_of_a_fleet_uses_prices_of_every_kind() -> None:
    problem = make_problem(dataclasses.replace(a_fleet(1_000, seed=109)))
    advice = make_advice(problem)
    clusters = make_clusters(advice.relaxation, weights_of(problem), problem.kind_backend, 400)
    fluid = solve_fluid(advice.relaxation, clusters, weights_of(problem))
    assert fluid is not None
    assert bound(problem, advice.relaxation, advice.prices) > bound(problem, advice.relaxation, fluid.prices)

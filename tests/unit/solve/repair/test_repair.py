"""Repairing a placement that is in force: who moves, who stays, and how few it has to be."""

from __future__ import annotations

import dataclasses

from planner.domain.difference import count_moves
from planner.domain.placement import Placed, Placement, Shard
from planner.domain.plan import Moves, Plan
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.solve.options import SolveOptions
from planner.solve.portfolio import make_plan
from planner.solve.problem import make_problem
from planner.solve.repair.plans import level, repair
from tests.support.builders import GIB, a_model, a_node, a_scenario, a_shard_type, an_option
from tests.support.overloaded import drifted

MOVES_FIRST = ("placed", "moves", "cost")


def gib(name: str, size: int, **more: object) -> object:
    return a_model(name, an_option(gpu=size * GIB), **more)


def placement(**shards: str) -> Placement:
    """Shards of type ``t`` with the models of one letter each that are on them."""
    return Placement(
        shards=tuple(Shard(name=name.replace("_", "-"), shard_type="t") for name in sorted(shards)),
        placed=tuple(
            sorted(
                Placed(model=model, replica=0, shard=name.replace("_", "-"), devices=(0,))
                for name, models in shards.items()
                for model in models
            )
        ),
    )


def repaired(scenario: Scenario, base: Placement) -> tuple[int, int, int]:
    """Moves, the bound on them, and how many found no seat."""
    found = repair(make_problem(scenario), base)
    return count_moves(base, found.placement), found.at_least, found.homeless


def test_one_large_resident_leaves_rather_than_two_small_ones() -> None:
    scenario = a_scenario(gib("a", 8), gib("b", 6), gib("c", 6), gib("d", 4))
    assert repaired(scenario, placement(t="abc", t_1="d")) == (1, 1, 0)


def test_what_is_legal_stays() -> None:
    scenario = a_scenario(gib("a", 8), gib("b", 8), gib("c", 16))
    assert repaired(scenario, placement(t="ab", t_1="c")) == (0, 0, 0)


def test_a_resident_makes_room_for_one_that_fits_nowhere_else() -> None:
    scenario = a_scenario(
        *(gib(name, size) for name, size in zip("abcdef", (10, 10, 5, 4, 13, 12), strict=True)),
        types=(a_shard_type("t", max_count=4),),
    )
    moves, least, homeless = repaired(scenario, placement(t="ab", t_1="cd", t_2="e", t_3="f"))
    assert (moves, least, homeless) == (2, 1, 0)  # d goes to f's shard, then a or b to c's


def test_what_finds_no_room_is_left_to_a_new_shard_and_counted() -> None:
    base = placement(t="ab", t_1="c")
    scenario = a_scenario(gib("a", 12), gib("b", 12), gib("c", 12), objective=MOVES_FIRST)
    assert repaired(scenario, base) == (0, 1, 1)
    plan = make_plan(scenario, SolveOptions(work=5), base=a_plan(scenario, base))
    assert len(plan.placement.shards) == 3
    assert plan.moves == Moves(count=1, at_least=1)


def test_a_shard_that_cannot_stand_moves_all_of_its_residents_and_the_smallest_is_given_up() -> None:
    types = (a_shard_type("t", max_count=1),)
    scenario = a_scenario(gib("a", 2), gib("b", 2), gib("c", 2), types=types)
    assert repaired(scenario, placement(t="ab", t_1="c")) == (1, 1, 0)
    scenario = a_scenario(gib("a", 2), gib("b", 2), types=(a_shard_type("other", group="t"),))
    assert repaired(scenario, placement(t="a", t_1="b")) == (0, 2, 2)


def test_a_pinned_model_stays_and_the_other_leaves() -> None:
    scenario = a_scenario(gib("a", 10, pin="t"), gib("b", 11), gib("c", 2))
    found = repair(make_problem(scenario), placement(t="ab", t_1="c"))
    assert {item.model: item.shard for item in found.placement.placed} == {"a": "t", "b": "t-1", "c": "t-1"}


def test_another_device_of_the_same_shard_is_a_move_too() -> None:
    scenario = a_scenario(gib("a", 10), gib("b", 10), types=(a_shard_type("t", device_count=2),))
    assert repaired(scenario, placement(t="ab")) == (1, 1, 0)


def test_replicas_that_share_a_domain_now_part() -> None:
    types = (a_shard_type("t", provision="existing"),)
    nodes = (a_node("n-0", gpus=2), a_node("n-1", gpus=1))
    scenario = a_scenario(gib("a", 4, replicas=2), types=types, nodes=nodes, spread="node")
    shards = (("t", "n-0", 0), ("t-1", "n-0", 1), ("t-2", "n-1", 0))
    base = Placement(
        shards=tuple(Shard(name=n, shard_type="t", node=at, node_devices=(d,)) for n, at, d in shards),
        placed=tuple(Placed(model="a", replica=r, shard=shards[r][0], devices=(0,)) for r in range(2)),
    )
    found = repair(make_problem(scenario), base)
    assert sorted(item.shard for item in found.placement.placed) == ["t", "t-2"]


def a_plan(scenario: Scenario, base: Placement) -> Plan:
    """A plan that says only where everything is."""
    return dataclasses.replace(make_plan(scenario, SolveOptions(work=1)), placement=base)


def test_drifted_loads_are_repaired_without_a_new_shard_near_the_bound() -> None:
    scenario, base = drifted(600, 22, seed=101)
    plan = make_plan(scenario, SolveOptions(work=5), base=a_plan(scenario, base))
    assert verify(scenario, plan) == ()
    assert plan.moves is not None
    assert not plan.refusals
    assert 0 < plan.moves.at_least <= plan.moves.count <= plan.moves.at_least + 3
    again = make_plan(scenario, SolveOptions(work=5), base=a_plan(scenario, base))
    assert again.placement == plan.placement


def scattered(count: int, *, objective: tuple[str, ...]) -> tuple[Scenario, Placement]:
    """So many shards with one, two and three residents of 2 GiB in turn: one shard would do for eight."""
    names = ["".join(chr(97 + 3 * shard + at) for at in range(1 + shard % 3)) for shard in range(count)]
    shards = {("t" if index == 0 else f"t_{index}"): held for index, held in enumerate(names)}
    scenario = a_scenario(*(gib(name, 2) for name in "".join(names)), objective=objective)
    return scenario, placement(**shards)


def test_by_few_moves_the_shards_go_that_save_most_for_each() -> None:
    scenario, base = scattered(6, objective=("placed", "cost", "moves"))
    plans = {
        most: make_plan(scenario, SolveOptions(work=5, max_moves=most), base=a_plan(scenario, base))
        for most in (0, 1, 2, 3, 100)
    }
    assert [len(plan.placement.shards) for plan in plans.values()] == [6, 5, 4, 4, 2]
    assert [plan.moves.count if plan.moves else None for plan in plans.values()][:4] == [0, 1, 2, 2]


def test_repair_makes_the_moves_it_needs_even_above_the_limit() -> None:
    scenario = a_scenario(gib("a", 10), gib("b", 10), gib("c", 4))
    base = a_plan(scenario, placement(t="ab", t_1="c"))
    plan = make_plan(scenario, SolveOptions(work=5, max_moves=0), base=base)
    assert not plan.refusals
    assert plan.moves == Moves(count=1, at_least=1)


def moved_and_refused(scenario: Scenario, base: Placement, most: int | None) -> tuple[int, int]:
    """Moves of the plan with a limit, and how many replicas it refuses."""
    plan = make_plan(scenario, SolveOptions(work=5, max_moves=most), base=a_plan(scenario, base))
    assert verify(scenario, plan) == ()
    assert plan.moves is not None
    return plan.moves.count, len(plan.refusals)


def test_room_for_what_is_new_is_made_by_no_more_moves_than_are_allowed() -> None:
    sizes = {"a": 6, "b": 4, "c": 6, "d": 6, "e": 6, "f": 4, "g": 6, "h": 6}
    base = placement(t="ab", t_1="cd", t_2="ef", t_3="gh")
    scenario = a_scenario(
        *(gib(name, size) for name, size in sizes.items()),
        *(gib(name, 10) for name in "yz"),  # with a or e, once b or f is where 4 GiB are free
        types=(a_shard_type("t", max_count=4),),
    )
    found = {most: moved_and_refused(scenario, base, most) for most in (0, 1, 2, 3)}
    assert found == {0: (0, 2), 1: (1, 1), 2: (2, 0), 3: (2, 0)}
    assert moved_and_refused(scenario, base, None)[1] == 0


def test_beyond_the_moves_of_a_repair_none_are_made_that_are_not_allowed() -> None:
    sizes = {"a": 10, "b": 10, "c": 4, "d": 6, "e": 4, "f": 6, "g": 6, "z": 10}
    base = placement(t="ab", t_1="c", t_2="de", t_3="fg")  # b has to go to c, and z fits where e leaves
    scenario = a_scenario(
        *(gib(name, size) for name, size in sizes.items()), types=(a_shard_type("t", max_count=4),)
    )
    found = {most: moved_and_refused(scenario, base, most) for most in (0, 1, 2)}
    assert found == {0: (1, 1), 1: (1, 1), 2: (2, 0)}


def test_what_is_proven_of_any_plan_is_not_said_of_one_with_few_moves() -> None:
    scenario = a_scenario(gib("a", 6), gib("b", 6), gib("z", 12), types=(a_shard_type(max_count=2),))
    plan = make_plan(
        scenario, SolveOptions(work=5, max_moves=0), base=a_plan(scenario, placement(t="a", t_1="b"))
    )
    assert [(refusal.model, refusal.proven) for refusal in plan.refusals] == [("z", False)]
    assert plan.status == "feasible"


def test_load_is_evened_out_by_no_more_moves_than_are_allowed() -> None:
    scenario = a_scenario(*(gib(name, 2) for name in "abcdefgh"), gib("z", 2))
    base = placement(t="abcdefgh", t_1="z")
    problem = make_problem(scenario)
    for most in range(5):
        after = level(problem, base, base, most_moves=most)
        assert count_moves(base, after) == min(most, 3)
        assert sum(item.shard == "t" for item in after.placed) == 8 - min(most, 3)

"""Meta's Rebalancer on one instance: ``python3.12 rebalancer_peer.py INSTANCE.json SECONDS RESULT.json``.

Runs by itself, in an interpreter that has the package ``rebalancer`` (PyPI, Python 3.12 on). The set-up is
that of its documents: a capacity on every dimension, the goal to move little or to balance every dimension,
then local search with single moves and swaps. A capacity that is broken at the start is repaired as far as
possible, as it does by default.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from rebalancer import ProblemSolver
from rebalancer.specs import (
    BalanceSpec,
    CapacitySpec,
    ConstraintSpec,
    GoalSpec,
    LocalSearchSolverSpec,
    MinimizeMovementSpec,
    MoveTypeSpec,
    SingleMoveTypeSpec,
    SolverSpec,
    SwapMoveTypeSpec,
)


def main(instance: str, seconds: str, result: str) -> None:
    """Solve, and write the assignment with the CPU and wall seconds that the solving took."""
    given = json.loads(Path(instance).read_text())
    solver = ProblemSolver(service_name="rebalancer", service_scope="bench")
    solver.set_object_name("model").set_container_name("shard").set_assignment(given["assignment"])
    for name, room in given["rooms"].items():
        solver.add_object_dimension(name, given["needs"][name])
        solver.add_container_dimension(name, {}, default_value=room)
        capacity = CapacitySpec(name=f"{name}-capacity", scope="shard", dimension=name)
        solver.add_constraint(ConstraintSpec(capacitySpec=capacity))
    if given["balance"]:
        for name in given["rooms"]:
            goal = BalanceSpec(name=f"{name}-balance", scope="shard", dimension=name)
            solver.add_goal(GoalSpec(balanceSpec=goal))
    else:
        goal = MinimizeMovementSpec(name="moves", scope="shard", dimension="model_count")
        solver.add_goal(GoalSpec(minimizeMovementSpec=goal))
    moves = [
        MoveTypeSpec(singleMoveTypeSpec=SingleMoveTypeSpec()),
        MoveTypeSpec(swapMoveTypeSpec=SwapMoveTypeSpec()),
    ]
    search = LocalSearchSolverSpec(moveTypeList=moves, solveTime=int(seconds))
    solver.add_solver(SolverSpec(localSearchSolverSpec=search))
    cpu, wall = time.process_time(), time.perf_counter()
    solution = solver.solve()
    spent = {"cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - wall}
    Path(result).write_text(json.dumps({"assignment": solution["assignment"], **spent}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the solver packs is what ``domain.memory.need`` says of the options that stand for a shard type."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planner.domain.fleet import Backend, Runtime
from planner.domain.footprint import Amount, FootprintOption
from planner.domain.memory import Need, need
from planner.domain.model import Model, options_for
from planner.domain.scenario import Scenario
from planner.solve.problem import CPU as CPU_COLUMN
from planner.solve.problem import DISK, FIXED_COLUMNS, MEMORY, Problem, make_problem
from tests.support.builders import CPU, GPU, a_model, a_scenario, a_shard_type, an_option

_OTHER_GPU = "gpu-other"
_FEW = st.sampled_from((0, 0, 1, 2, 5))


@st.composite
def _amounts(draw: st.DrawFn) -> Amount:
    median = draw(_FEW)
    return Amount(p50=median, p95=median + draw(_FEW))


@st.composite
def _options(draw: st.DrawFn) -> FootprintOption:
    steady = draw(_amounts())
    return an_option(
        draw(st.sampled_from(("*", "*", GPU, GPU, _OTHER_GPU, CPU, "unknown"))),
        gpu=steady,
        peak=Amount(p50=steady.p50 + draw(_FEW), p95=steady.p95 + 5),
        milli=draw(_amounts()),
        cpu=draw(_amounts()),
        host=draw(_amounts()),
        disk=draw(_amounts()),
        instances=draw(st.sampled_from((1, 3))),
        source=draw(st.sampled_from(("measured", "imported", "declared", "estimated"))),
        extra=draw(st.sampled_from(((), (), (("r", 1),), (("r", 2), ("s", 1))))),
    )


@st.composite
def _models(draw: st.DrawFn, index: int) -> Model:
    return a_model(
        f"m-{index}",
        *draw(st.lists(_options(), min_size=1, max_size=5)),
        backend=draw(st.sampled_from(("onnxruntime", "python"))),
        replicas=draw(st.integers(1, 3)),
        devices_per_replica=draw(st.sampled_from((1, 1, 2))),
    )


@st.composite
def scenarios_of_footprints(draw: st.DrawFn) -> Scenario:
    """Models with up to five options of any class on three types, of one server or two."""
    narrow = draw(st.sampled_from((None, ("python",))))
    return a_scenario(
        *(draw(_models(index)) for index in range(draw(st.integers(0, 4)))),
        types=(
            a_shard_type("a"),
            a_shard_type("b", device_class=_OTHER_GPU, runtime="narrow"),
            a_shard_type("c", device_class=CPU),
        ),
        backends=(Backend(name="onnxruntime"), Backend(name="python", context_per_instance=True)),
        runtimes=(Runtime(name="triton", context_bytes=7), Runtime(name="narrow", backends=narrow)),
        quantile=draw(st.sampled_from(("p50", "p95"))),
    )


def _told(problem: Problem, kind: int, column: int) -> dict[int, tuple[int, ...]]:
    """What the arrays say of a kind on a type: of each option what it takes, the further resources last."""
    return {
        int(mode.option[kind, column]): (
            int(mode.on_device[kind, column]),
            int(mode.steady[kind, column]),
            int(mode.surplus[kind, column]),
            int(mode.milli[kind, column]),
            *(int(mode.host[kind, column, which]) for which in (CPU_COLUMN, MEMORY, DISK)),
            *(int(amount) for amount in mode.host[kind, column, FIXED_COLUMNS:]),
        )
        for mode in problem.modes
        if mode.allowed[kind, column]
    }


def _right(wants: Need, extras: tuple[str, ...], *, is_gpu: bool) -> tuple[int, ...]:
    device = (wants.steady_bytes, wants.load_peak_bytes - wants.steady_bytes, wants.device_milli)
    counted = device if is_gpu and wants.on_device else (0, 0, 0)
    host = (wants.cpu_milli, wants.memory_bytes, wants.disk_bytes)
    return (int(is_gpu and wants.on_device), *counted, *host, *(wants.extra.get(name, 0) for name in extras))


@given(scenarios_of_footprints())
def test_every_way_is_an_option_and_takes_what_it_needs(scenario: Scenario) -> None:
    problem = make_problem(scenario)
    extras = problem.columns[FIXED_COLUMNS:]
    for index, model in enumerate(scenario.models):
        for column, shard_type in enumerate(scenario.shard_types):
            runtime = problem.parts.runtimes[shard_type.runtime]
            is_gpu = bool(problem.is_gpu[column])
            served = runtime.backends is None or model.backend in runtime.backends
            able = options_for(model, problem.parts.device_classes[shard_type.device_class]) if served else ()
            right = {}
            for option in able:
                wants = need(
                    model.footprints[option],
                    backend=problem.parts.backends[model.backend],
                    runtime=runtime,
                    quantile=scenario.policy.quantile,
                )
                right[option] = _right(wants, extras, is_gpu=is_gpu)
            told = _told(problem, int(problem.kind[index]), column)
            assert told == {option: right[option] for option in told}
            for option, amounts in right.items():  # who is left out takes no less than one that is not
                if option not in told:
                    assert any(
                        all(a <= b for a, b in zip(other[1:], amounts[1:], strict=True))
                        for other in told.values()
                    )


@given(scenarios_of_footprints())
def test_seats_are_the_members_of_units(scenario: Scenario) -> None:
    problem = make_problem(scenario)
    seats = list(zip(problem.seat_unit.tolist(), problem.seat_model.tolist(), strict=True))
    assert seats == [(unit, model) for unit, one in enumerate(problem.units) for model in one.members]
    assert problem.simple.tolist() == [unit.simple for unit in problem.units]
    for model, kind in zip(scenario.models, problem.kind.tolist(), strict=True):
        assert problem.devices[kind] == model.devices_per_replica
        assert scenario.backends[problem.kind_backend[kind]].name == model.backend

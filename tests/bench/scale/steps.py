"""The steps around the solver, each alone in a process: ``python -m tests.bench.scale.steps FOLDER STEP``.

Prints seconds of CPU and the process's peak of memory as JSON. ``prepare REPLICAS`` makes the files that the
others read.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from planner import cli
from planner.domain.canonical import sha256_of
from planner.domain.difference import diff_plans
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.domain.verify import verify
from planner.scenario.dump import scenario_text
from planner.scenario.files import write_atomic
from planner.scenario.load import load_scenario
from planner.scenario.plan_file import load_plan, plan_pieces
from planner.units import quantity_bytes, quantity_milli
from tests.bench.scale.filling import a_plan_of
from tests.support.fleets import a_fleet

SEED = 0
_COLUMNS = "name,backend,storageUri,replicas,class,gpuMemory,gpuLoadPeak,gpuTime,cpu,memory\n"
_GENERATED = """\
apiVersion: shardpack.dev/v1alpha1
kind: Scenario
metadata: {{name: generated}}
spec:
  shardTypes: [{{name: t4, use: aws-g4dn.xlarge}}]
  modelsFrom:
    - generate:
        prefix: m
        count: {count}
        backends: {{onnxruntime: 3, pytorch: 1}}
        replicas: {{"1": 40, "2": 45, "3": 15}}
        gpuMemory: {{distribution: lognormal, median: 600Mi, sigma: 0.9, min: 100Mi, max: 6Gi}}
        gpuTime: {{distribution: lognormal, median: 40m, sigma: 1.0, min: 1m, max: 400m}}
        cpu: 100m
        memory: {{distribution: lognormal, median: 600Mi, sigma: 0.6, min: 60Mi, max: 6Gi}}
        footprints: [{{class: nvidia-t4}}]
"""


def prepare(folder: Path, replicas: int) -> dict[str, int]:
    """Write a fleet as a table, as JSON and as YAML, one that is generated, and a plan; return how large."""
    scenario = a_fleet(replicas, seed=SEED)
    text = scenario_text(scenario)
    (folder / "inline.json").write_text(text, encoding="utf-8")
    document = json.loads(text)
    if replicas <= 100_000:  # beyond that nobody writes YAML, and writing takes minutes
        with (folder / "inline.yaml").open("w", encoding="utf-8") as stream:
            yaml.dump(document, stream, Dumper=yaml.CSafeDumper, sort_keys=False)
    del document["spec"]["models"]
    document["spec"]["modelsFrom"] = [{"table": "models.csv"}]
    (folder / "table.json").write_text(json.dumps(document), encoding="utf-8")
    write_atomic(folder / "models.csv", _rows(scenario))
    (folder / "generated.yaml").write_text(_GENERATED.format(count=len(scenario.models)), encoding="utf-8")
    plan = a_plan_of(scenario)
    write_atomic(folder / "plan.json", plan_pieces(plan, scenario))
    return {
        "models": len(scenario.models),
        "replicas": len(plan.placement.placed),
        "shards": len(plan.placement.shards),
    }


def _rows(scenario: Scenario) -> Iterator[str]:
    yield _COLUMNS
    for model in scenario.models:
        head = f"{model.name},{model.backend},{model.storage_uri},{model.replicas}"
        for option in model.footprints:
            gpu = ",,"
            if option.steady_bytes.p95:
                memory = (
                    f"{quantity_bytes(option.steady_bytes.p95)},{quantity_bytes(option.load_peak_bytes.p95)}"
                )
                gpu = f"{memory},{quantity_milli(option.device_milli.p95)}"
            host = f"{quantity_milli(option.cpu_milli.p95)},{quantity_bytes(option.memory_bytes.p95)}"
            yield f"{head},{option.device_class},{gpu},{host}\n"
            head = f"{model.name},,,"


def _loaded(folder: Path) -> tuple[Scenario, Plan]:
    return load_scenario(folder / "table.json"), load_plan(folder / "plan.json")


def _verified(scenario: Scenario, plan: Plan) -> None:
    broken = verify(scenario, plan)
    if broken:
        raise SystemExit("\n".join(map(str, broken[:5])))


def _other(plan: Plan) -> Plan:
    """A plan in which every tenth replica runs under another option."""
    placed = tuple(
        dataclasses.replace(item, option=item.option + 1) if index % 10 == 0 else item
        for index, item in enumerate(plan.placement.placed)
    )
    return dataclasses.replace(plan, placement=dataclasses.replace(plan.placement, placed=placed))


def work_of(step: str, folder: Path) -> Callable[[], object]:
    """Return a step's work, with what it needs at hand: that is not timed, but in the peak of memory."""
    match step:
        case "load table" | "load inline.json" | "load inline.yaml" | "load generated.yaml":
            name = step.removeprefix("load ")
            return lambda: load_scenario(folder / ("table.json" if name == "table" else name))
        case "load plan":
            return lambda: load_plan(folder / "plan.json")
        case "hash":
            scenario = load_scenario(folder / "table.json")
            return lambda: sha256_of(scenario)
    scenario, plan = _loaded(folder)
    match step:
        case "verify":
            return lambda: _verified(scenario, plan)
        case "write plan":
            return lambda: write_atomic(folder / "written.json", plan_pieces(plan, scenario))
        case "diff":
            other = _other(plan)
            return lambda: diff_plans(plan, other)
    raise SystemExit(f"there is no step {step!r}")


STEPS = (
    "load table",
    "load inline.json",
    "load inline.yaml",
    "load generated.yaml",
    "hash",
    "verify",
    "write plan",
    "load plan",
    "diff",
)


def main(folder: Path, step: str, *arguments: str) -> None:
    """Do one step and print its record."""
    gc.set_threshold(*cli.COLLECT_AFTER)
    if step == "prepare":
        record: dict[str, Any] = dict(prepare(folder, int(*arguments)))
    else:
        work = work_of(step, folder)
        start = time.process_time()
        work()
        record = {"cpu_seconds": round(time.process_time() - start, 2)}
    sys.stdout.write(json.dumps({**record, "peak_memory_kib": _peak_kib()}) + "\n")


def _peak_kib() -> int:
    """Return this process's peak; on Linux without what its parent had when it started it."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])

"""The demo: the whole way from a scenario to served models, on this machine.

Every step of planning is one of the commands that a user types, run as its own process; every server is a
real Triton, every agent the real one. What stands in for a cluster is said where it does: pods are processes
(``pods``), GPUs are simulated (``native/FIDELITY.md``), and the demo itself plays the controller that writes
a model's endpoint into its TrainedModel.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
import yaml

from planner.domain.memory import node_devices
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.errors import EXIT_DONE, EXIT_REFUSED, ShardpackError
from planner.rehearsal.build import NativeParts, build_native
from planner.rehearsal.cluster import Cluster
from planner.rehearsal.demo_fleet import (
    DemoModel,
    giant_entry,
    real_models,
    simulated_gpus,
    tiny_models,
    write_catalog,
    write_scenario,
)
from planner.rehearsal.gpus import environment, write_state
from planner.rehearsal.manifest_reader import pod_specs, read_objects, trained_models
from planner.rehearsal.pods import Pod, wait_loaded
from planner.rehearsal.prerequisites import check_prerequisites
from planner.rehearsal.stage import stage
from planner.rehearsal.traffic import Verdict, ask
from planner.rehearsal.triton_files import prepare_triton
from planner.report.html import report_html
from planner.report.rehearsal import Rehearsal, RehearsedDevice, RehearsedModel
from planner.report.usage import placement_usage
from planner.scenario.catalogue import shipped_catalogue
from planner.scenario.files import write_atomic
from planner.scenario.load import load_scenario
from planner.scenario.plan_file import load_plan
from planner.units import format_bytes

_LOAD_TIMEOUT_S = 240.0
_GROWTH = 6
_MOST_ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """How much of the demo is shown, and where.

    Parameters
    ----------
    report
        Where the HTML report goes; None writes none.
    folder
        Keeps documents, manifests and logs for a look afterwards; None uses a temporary one.
    zoo
        Names of the real models; None is all thirty.
    tiny
        Number of tiny models at the start.
    say
        Takes each line of the story.
    """

    report: Path | None = None
    folder: Path | None = None
    zoo: tuple[str, ...] | None = None
    tiny: int = 40
    say: Callable[[str], None] = print


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What was seen.

    Parameters
    ----------
    asked, correct
        Models that were asked at the end, and those that answered as they should.
    devices, exact
        GPUs of the shards, and those whose memory is the plan's to the byte.
    shards_before, shards_after
        Shards before and after models were added.
    refused
        Models that were refused by plan.
    recovered_s
        Seconds from the death of a server until it held all its models again.
    """

    asked: int
    correct: int
    devices: int
    exact: int
    shards_before: int
    shards_after: int
    refused: tuple[str, ...]
    recovered_s: float

    @property
    def succeeded(self) -> bool:
        """Whether everything that was promised was seen."""
        grew = self.shards_after > self.shards_before
        return grew and self.asked == self.correct > 0 and self.devices == self.exact > 0


def run_demo(options: DemoOptions) -> DemoResult:
    """Run the demo and stop everything that it started, whatever happens.

    Raises
    ------
    InputError
        Something that it needs is not there; nothing was begun.
    ShardpackError
        A step failed; the message says which and shows what the part said.
    """
    check_prerequisites(report=options.report, folder=options.folder)
    with stage(options.folder) as (folder, stack):
        result = _Demo(options=options, folder=folder, stack=stack).run()
    kept = "" if options.folder is None else f"; documents, manifests and logs are in {options.folder}"
    options.say(f"every server and agent is stopped{kept}")
    return result


@dataclass(slots=True, kw_only=True)
class _Demo:
    """The story, step by step; what is started is stopped by ``stack``."""

    options: DemoOptions
    folder: Path
    stack: contextlib.ExitStack
    native: NativeParts = field(init=False)
    cluster: Cluster = field(init=False)
    models: dict[str, DemoModel] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def run(self) -> DemoResult:
        """Tell the story from its beginning."""
        self._step("Simulate GPUs, train real models")
        self._prepare()
        self._step("Read the fleet from NVML")
        fleet = self._run(["inventory", "nvml", "--node-name", "this-machine"], self._gpu_environment(None))
        (self.folder / "fleet.yaml").write_text(fleet)
        self._step("Plan, prove, write manifests")
        scenario, plan = self._plan()
        shards_before = len(plan.placement.shards)
        self._step("Start a Triton and an agent for every shard; the agents load the models")
        self._apply(scenario, plan)
        self._ask_all()
        self._step("Add models until a shard is full and a new one appears")
        scenario, plan = self._grow(shards_before)
        self._step("Kill a server and see it come back")
        recovered_s = self._kill_a_server()
        self._step("Ask every model, weigh every GPU")
        verdicts = self._ask_all()
        devices = self._weigh(scenario, plan)
        self._write_report(scenario, plan, verdicts=verdicts, devices=devices)
        result = DemoResult(
            asked=len(verdicts),
            correct=sum(verdict.correct for verdict in verdicts.values()),
            devices=len(devices),
            exact=sum(item.planned_bytes == item.measured_bytes for item in devices),
            shards_before=shards_before,
            shards_after=len(plan.placement.shards),
            refused=tuple(refusal.model for refusal in plan.refusals),
            recovered_s=recovered_s,
        )
        self._sum_up(result)
        return result

    # ------------------------------------------------------------------------------------------ preparation

    def _prepare(self) -> None:
        self.native = build_native(self.folder / "native")
        home = prepare_triton(self.folder / "servers", native=self.native)
        self.cluster = Cluster(folder=self.folder / "pods", home=home)
        triton = shipped_catalogue().runtimes["triton"]
        write_state(self.folder / "gpus", simulated_gpus(triton.context_bytes))
        self.store.mkdir()
        url = self.stack.enter_context(_serving(self.store))
        self._add(real_models(self.store, url, self.options.zoo))
        self._add(tiny_models(self.store, self.options.tiny, first=len(self.models)))
        write_catalog(self.folder / "server.yaml", triton)
        self.stack.callback(self.cluster.stop)

    @property
    def pods(self) -> dict[str, Pod]:
        """The shards' pods."""
        return self.cluster.pods

    @property
    def store(self) -> Path:
        """Where the models' files are, as an object store would hold them."""
        return self.folder / "store"

    def _add(self, models: Iterable[DemoModel]) -> None:
        added = {model.name: model for model in models}
        self.models |= added
        self._tell(f"{len(added)} models, as {', '.join(list(added)[:3])}...")

    def _gpu_environment(self, visible: Sequence[str] | None) -> dict[str, str]:
        return environment(self.native, self.folder / "gpus", visible=visible)

    # --------------------------------------------------------------------------------------------- planning

    def _plan(self) -> tuple[Scenario, Plan]:
        """Plan the models that there are now, staying close to the last plan if there is one."""
        entries = [giant_entry(), *(model.entry for model in self.models.values())]
        write_scenario(self.folder / "scenario.yaml", entries, includes=("fleet.yaml", "server.yaml"))
        plan_file = self.folder / "plan.json"
        close_to = ["--from", "plan.json"] if plan_file.exists() else []
        self._show(["plan", "scenario.yaml", *close_to, "--out", "plan.json"])
        self._show(["verify", "scenario.yaml", "plan.json"])
        self._show(["manifests", "scenario.yaml", "plan.json", "--out", "manifests"])
        plan = load_plan(plan_file)
        refused = {refusal.model for refusal in plan.refusals} & set(self.models)
        if refused:
            raise ShardpackError(
                f"{len(refused)} models found no place, as {min(refused)}; is this machine large enough?"
            )
        return load_scenario(self.folder / "scenario.yaml"), plan

    def _grow(self, shards_before: int) -> tuple[Scenario, Plan]:
        for _ in range(_MOST_ROUNDS):
            self._add(tiny_models(self.store, _GROWTH, first=len(self.models)))
            scenario, plan = self._plan()
            self._apply(scenario, plan)
            if len(plan.placement.shards) > shards_before:
                return scenario, plan
        raise ShardpackError(f"no new shard appeared in {_MOST_ROUNDS} rounds")

    def _show(self, arguments: list[str]) -> None:
        """Run one of our commands and show what it says."""
        for line in self._run(arguments).splitlines():
            self._tell(f"  {line}")

    def _run(self, arguments: list[str], variables: Mapping[str, str] | None = None) -> str:
        """Run one of our commands as a user would; return what it prints."""
        self._tell(f"$ shardpack {shlex.join(arguments)}")
        done = subprocess.run(
            [sys.executable, "-m", "planner.cli", *arguments],
            cwd=self.folder,
            env={**os.environ, **(variables or {}), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (EXIT_DONE, EXIT_REFUSED):
            raise ShardpackError(f"shardpack {arguments[0]} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    # ------------------------------------------------------------------------------------------------- pods

    def _apply(self, scenario: Scenario, plan: Plan) -> None:
        """Bring the pods to what the manifests say, wait until they hold it, and write the endpoints."""
        objects = read_objects(self.folder / "manifests")
        nodes = {node.name: node for node in scenario.nodes}
        uuids = {
            shard.name: [str(device.uuid) for device in node_devices(shard, nodes)]
            for shard in plan.placement.shards
        }
        specs, before = pod_specs(objects), set(self.pods)

        def gpus(shard: str) -> dict[str, str] | None:
            return self._gpu_environment(uuids[shard]) if uuids[shard] else None

        failed = self.cluster.apply(specs, gpus=gpus)
        for name in sorted(set(specs) - before):
            if name in failed:
                raise failed[name]
            self._tell(f"shard {name} started" + (f" on {len(uuids[name])} GPUs" if uuids[name] else ""))
        began = time.monotonic()
        wait_loaded(self.pods, timeout_s=_LOAD_TIMEOUT_S)
        self._tell(f"all {len(self.models)} models loaded {time.monotonic() - began:.1f} s later")
        self._write_endpoints(objects)

    def _write_endpoints(self, objects: Iterable[dict[str, Any]]) -> None:
        """Play the controller's part: write each model's address into its TrainedModel's status."""
        folder = self.folder / "trainedmodels"
        folder.mkdir(exist_ok=True)
        for name, trained_model in trained_models(objects).items():
            server = self.pods[trained_model["spec"]["inferenceService"]].server
            trained_model["status"] = {
                "url": f"{server.http_url}/v2/models/{name}/infer",
                "conditions": [{"type": "Ready", "status": "True"}],
            }
            write_atomic(folder / f"{name}.yaml", yaml.safe_dump(trained_model, sort_keys=False))

    def _kill_a_server(self) -> float:
        name = next(name for name, pod in sorted(self.pods.items()) if pod.gpus)
        pod = self.pods[name]
        self._tell(f"kill -9 {pod.server.pid}, the Triton of shard {name}")
        os.kill(pod.server.pid, signal.SIGKILL)
        began = time.monotonic()
        while not pod.restart_dead():
            time.sleep(0.05)
        wait_loaded(self.pods, timeout_s=_LOAD_TIMEOUT_S)
        recovered_s = time.monotonic() - began
        self._tell(f"started again as {pod.server.pid}; its models were back after {recovered_s:.1f} s")
        return recovered_s

    # ---------------------------------------------------------------------------------------------- the end

    def _ask_all(self) -> dict[str, Verdict]:
        """Ask every model at the endpoint that its TrainedModel names."""
        with urllib3.PoolManager() as pool:
            verdicts = {
                name: ask(pool, self._endpoint(name), model.question)
                for name, model in sorted(self.models.items())
            }
        wrong = {name: verdict for name, verdict in verdicts.items() if not verdict.correct}
        self._tell(f"{len(verdicts) - len(wrong)} of {len(verdicts)} models answered as they should")
        for name, verdict in wrong.items():
            self._tell(f"  {name}: {verdict.status} {verdict.detail}")
        return verdicts

    def _endpoint(self, name: str) -> str:
        document = yaml.safe_load((self.folder / "trainedmodels" / f"{name}.yaml").read_text())
        return str(document["status"]["url"])

    def _weigh(self, scenario: Scenario, plan: Plan) -> tuple[RehearsedDevice, ...]:
        """Return each GPU's planned and measured bytes, the driver's own left out of both."""
        weighed = []
        for shard in placement_usage(scenario, plan.placement):
            found = {
                item["index"]: item["usedBytes"] for item in self.pods[shard.shard.name].status()["devices"]
            }
            weighed += [
                RehearsedDevice(
                    device=device.name,
                    planned_bytes=device.used_bytes - device.reserved_bytes,
                    measured_bytes=found[index],
                )
                for index, device in enumerate(shard.devices)
                if device.is_gpu
            ]
        for item in weighed:
            self._tell(
                f"{item.device}: planned {format_bytes(item.planned_bytes)}, NVML says"
                f" {format_bytes(item.measured_bytes)}: {item.measured_bytes - item.planned_bytes:+d} bytes"
            )
        return tuple(weighed)

    def _write_report(
        self,
        scenario: Scenario,
        plan: Plan,
        *,
        verdicts: Mapping[str, Verdict],
        devices: tuple[RehearsedDevice, ...],
    ) -> None:
        if self.options.report is None:
            return
        states = {name: pod.status()["models"] for name, pod in self.pods.items()}
        shards = {placed.model: placed.shard for placed in plan.placement.placed if placed.replica == 0}
        models = tuple(
            RehearsedModel(
                model=name,
                endpoint=self._endpoint(name),
                shard=shards[name],
                state=states[shards[name]][name]["state"],
                correct=verdict.correct,
            )
            for name, verdict in verdicts.items()
        )
        rehearsal = Rehearsal(models=models, devices=devices)
        write_atomic(self.options.report, report_html(scenario, plan, rehearsal=rehearsal))
        self._tell(f"report: {self.options.report}")

    def _sum_up(self, result: DemoResult) -> None:
        self._step("What was seen")
        rows = {
            "answers as they should be": f"{result.correct} of {result.asked} models",
            "GPU memory as planned": f"{result.exact} of {result.devices} GPUs, to the byte",
            "shards": f"{result.shards_before}, and {result.shards_after} after models were added",
            "back after its server's death": f"{result.recovered_s:.1f} s",
            "refused, with the reason": ", ".join(result.refused) or "none",
        }
        for what, seen in rows.items():
            self._tell(f"  {what:<31}{seen}")
        if not result.succeeded:
            self._tell("not everything went as promised; the lines above say what did not")

    def _step(self, title: str) -> None:
        self.options.say(f"\n== {title} ({time.monotonic() - self._began:.0f} s)")

    def _tell(self, line: str) -> None:
        self.options.say(line)


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on loopback, for the models that are fetched so; yields its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, name="store")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""60 models share three transformers: planned, then asked through real gateway, processes and servers."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import urllib3

from agent.routes import routes_of
from planner.domain.fleet import Transformer
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from planner.manifests.routes import plan_routes
from planner.rehearsal.free_ports import free_port
from planner.rehearsal.triton import TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome
from planner.solve.portfolio import make_plan
from tests.support.agent_models import model_folder
from tests.support.agent_process import eventually
from tests.support.builders import CPU, GIB, MIB, a_model, a_scenario, a_shard_type, an_option
from tests.support.gateway_process import GatewayProcess
from tests.support.nginx import needs_nginx
from tests.support.python_servers import environment_of

pytestmark = [pytest.mark.triton, needs_nginx]

FACTORS = {"double": 2, "triple": 3, "fivefold": 5}
GIVEN = 7.0
SUPPORT = Path(__file__).parents[2] / "support"


def the_scenario() -> Scenario:
    """60 models, a third through each transformer, and one through none; a shard takes 40."""
    names = [*FACTORS] * 20
    option = an_option(host=MIB)
    models = [a_model(f"m-{k:02}", option, transformer=name) for k, name in enumerate(names)]
    kind = a_shard_type("news", device_class=CPU, max_models=40)
    scenario = a_scenario(*models, a_model("plain", option), types=(kind,))
    transformers = (
        Transformer(name=name, image="x", cpu_milli=500, memory_bytes=GIB, price_microusd_per_h=10_000)
        for name in sorted(FACTORS)
    )
    return dataclasses.replace(scenario, transformers=tuple(transformers))


@dataclass(kw_only=True)
class Stage:
    """A plan that runs: a server for each shard, a process for each service, a gateway in front."""

    folder: Path
    home: TritonHome
    scenario: Scenario = field(default_factory=the_scenario)
    servers: dict[str, TritonProcess] = field(default_factory=dict)
    services: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plan: Plan = make_plan(self.scenario)
        self.gateway = GatewayProcess(folder=self.folder, shards={}, direct_port=free_port())
        self.pool = urllib3.PoolManager(retries=False, timeout=30)
        self.ports = {service.name: free_port() for service in self.plan.services}

    def start(self, command: Callable[[int, int], list[str]]) -> None:
        """Start all of it; ``command`` starts a transformer that calls back and listens at these ports."""
        for shard in self.plan.placement.shards:
            repository = self.folder / shard.name
            for placed in self.plan.placement.placed:
                if placed.shard == shard.name:
                    model_folder(repository / placed.model)
            options = TritonOptions(load_at_start=("*",))
            name = f"{self.folder.name}-{shard.name}"
            self.servers[shard.name] = start_triton(name, repository, home=self.home, options=options)
        (routes,) = plan_routes(self.plan, self.scenario).values()
        self.gateway.mount_routes(
            routes_of(
                group=routes.group,
                shards={name: f"127.0.0.1:{item.ports.http}" for name, item in self.servers.items()},
                models=dict(routes.models),
                services={name: f"127.0.0.1:{self.ports[name]}" for name, _ in routes.services},
                through=dict(routes.through),
            )
        )
        self.gateway.start()
        for service in self.plan.services:
            self.start_service(service.name, command)

    def start_service(self, name: str, command: Callable[[int, int], list[str]]) -> None:
        """Start a transformer and return when it is ready, as its Deployment's probe looks."""
        direct, factor = self.gateway.direct_port, FACTORS[name.rpartition("-")[2]]
        assert direct is not None
        environment = {
            "FACTOR": str(factor),
            "PREDICTOR_URL": f"http://127.0.0.1:{direct}",
            "PATH": "/usr/bin",
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.services[name] = subprocess.Popen(
                command(direct, self.ports[name]), env=environment, stdout=log, stderr=log, cwd=self.folder
            )
        url = f"http://127.0.0.1:{self.ports[name]}/v2/health/ready"

        def is_ready() -> bool:
            try:
                return self.pool.request("GET", url).status == 200
            except urllib3.exceptions.HTTPError:
                return False

        eventually(is_ready, f"{name} is ready: {(self.folder / f'{name}.log').read_text()[-2000:]}")

    def ask(self, model: str, *, port: int | None = None) -> tuple[int, object]:
        """Return the status of an inference on ``GIVEN``, and the number that it answers or what it says."""
        tensor = {"name": "INPUT0", "datatype": "FP32", "shape": [1], "data": [GIVEN]}
        url = f"http://127.0.0.1:{port or self.gateway.port}/v2/models/{model}/infer"
        answer = self.pool.request("POST", url, json={"inputs": [tensor]})
        if answer.status != 200:
            return answer.status, answer.data.decode()
        said = json.loads(answer.data)
        assert said["model_name"] == model
        return 200, said["outputs"][0]["data"][0]

    def kill(self) -> None:
        self.gateway.kill()
        for service in self.services.values():
            service.kill()
            service.wait()
        for server in self.servers.values():
            server.kill()


@pytest.fixture
def stage(tmp_path: Path, triton_home: TritonHome) -> Iterator[Stage]:
    found = Stage(folder=tmp_path, home=triton_home)
    yield found
    found.kill()


def plain_command(direct: int, port: int) -> list[str]:
    del direct  # in the environment
    return [sys.executable, str(SUPPORT / "transformer_server.py"), str(port)]


def kserve_command(direct: int, port: int) -> list[str]:
    python = environment_of("kserve") / "bin" / "python"
    return [
        *(str(python), str(SUPPORT / "kserve_transformer.py"), "--http_port", str(port)),
        *("--enable_grpc", "false", "--predictor_protocol", "v2", "--predictor_host", f"127.0.0.1:{direct}"),
    ]


def expected(scenario: Scenario) -> dict[str, tuple[int, float]]:
    """What every model answers: the identity of what its transformer makes of the input."""
    factors = {None: 1, **FACTORS}
    return {model.name: (200, GIVEN * factors[model.transformer]) for model in scenario.models}


@pytest.mark.parametrize("command", [plain_command, kserve_command])
def test_60_models_share_three_transformers(stage: Stage, command: Callable[[int, int], list[str]]) -> None:
    plan = stage.plan
    assert [service.transformer for service in plan.services] == ["double", "fivefold", "triple"]
    assert len(plan.placement.shards) == 2
    assert plan.cost_microusd_per_h == 2 * 1_000_000 + 3 * 10_000
    stage.start(command)
    models = [model.name for model in stage.scenario.models]
    assert {name: stage.ask(name) for name in models} == expected(stage.scenario)
    direct = stage.gateway.direct_port
    assert {name: stage.ask(name, port=direct) for name in models} == dict.fromkeys(models, (200, GIVEN))


def test_without_its_transformer_a_model_says_so_and_others_answer(stage: Stage) -> None:
    stage.start(plain_command)
    stage.services["news-transformer-double"].kill()
    stage.services["news-transformer-double"].wait()
    status, text = stage.ask("m-00")
    assert (status, "neither the transformer" in str(text)) == (503, True)
    assert stage.ask("m-01") == (200, GIVEN * 3)
    assert stage.ask("plain") == (200, GIVEN)
    stage.start_service("news-transformer-double", plain_command)
    assert stage.ask("m-00") == (200, GIVEN * 2)

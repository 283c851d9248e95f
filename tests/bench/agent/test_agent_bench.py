"""Thousands of tiny models on real Triton servers: the agents beside bare calls, and cold starts.

The models take no time of their own, so what is measured is the servers' and the agents'. Every figure stands
beside its peer's of the same run. Run by ``make bench``; ``SHARDPACK_BENCH_OUT`` names a folder for records,
``SHARDPACK_BENCH_MODELS`` says how many models go through the API, 2,000 if it does not.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import urllib3

from agent.desired import DesiredModel
from agent.servers.grpc_control import GrpcControl
from planner.errors import ShardpackError
from planner.rehearsal.build import build_native
from planner.rehearsal.free_ports import free_ports
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import Ports, TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome, prepare_triton
from tests.bench.records import commit, keep
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess

pytestmark = [pytest.mark.bench, pytest.mark.triton, pytest.mark.timeout(3600)]

LANES = (1, 2, 4, 8)
OVER = ("http", "grpc")
TURNS = 3
LOOKS_S = 0.2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> TritonHome:
    try:
        native = build_native(tmp_path_factory.mktemp("native"))
        return prepare_triton(tmp_path_factory.mktemp("triton"), native=native)
    except ShardpackError as error:
        pytest.skip(str(error))


class Bench:
    """A folder of models, and servers and agents on it."""

    def __init__(self, folder: Path, home: TritonHome) -> None:
        self.folder, self.home = folder, home
        self._running: list[TritonProcess | AgentProcess] = []

    def models(self, count: int, first: int = 0) -> list[DesiredModel]:
        """Tiny models, their folders made where they are not there yet."""
        made = []
        for number in range(first, first + count):
            place = self.folder / "store" / f"m{number:05}"
            uri = place.as_uri() if place.is_dir() else model_folder(place)
            made.append(wanted(place.name, storage_uri=uri))
        return made

    def serve(
        self, name: str, repository: Path, *, everything: bool, ports: Ports | None = None
    ) -> TritonProcess:
        options = TritonOptions(
            load_at_start=("*",) if everything else (), ports=ports, live_timeout_s=600, load_threads=4
        )
        server = start_triton(name, repository, home=self.home, options=options)
        self._running.append(server)
        return server

    def agent(self, name: str, ports: Ports, models: list[DesiredModel]) -> AgentProcess:
        """An agent with its documents mounted, not started."""
        folder = self.folder / name
        (folder / "models").mkdir(parents=True, exist_ok=True)
        agent = AgentProcess(folder=folder, server_url=f"http://127.0.0.1:{ports.http}")
        agent.arguments = ("--poll-period", "2")
        mount_files(agent.configs, documents(*models))
        self._running.append(agent)
        return agent

    def stop(self) -> None:
        for one in self._running:
            one.kill()
        self._running.clear()


@pytest.fixture
def bench(tmp_path: Path, home: TritonHome) -> Iterator[Bench]:
    made = Bench(tmp_path, home)
    yield made
    made.stop()
    shutil.rmtree(tmp_path)


@dataclass(frozen=True, slots=True)
class Pass:
    """One server that was filled through its API: how long it took, and whose core seconds."""

    seconds: float
    server_cpu_s: float
    agent_cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentsTurn:
    """Many servers that were filled by their agents: how long it took, and core seconds of all agents."""

    seconds: float
    cpu_s: float


def test_loads_through_the_api(bench: Bench) -> None:
    """2,000 models on one server: a running agent beside a bare loop of calls, in turns.

    Both load what the agent has laid out: for each load Triton copies every config that it knows, and those
    that say where their models run take it longer. A bare loop over the models as they came stands beside it.
    The agent sends its loads over gRPC, as the manifests have it; the loop as it is fastest.
    """
    models = bench.models(int(os.environ.get("SHARDPACK_BENCH_MODELS", "2000")))
    repository = laid_out(bench, models)
    tried = {(over, lanes): bare_loads(bench, repository, lanes, over) for over in OVER for lanes in LANES}
    over, best = min(tried, key=lambda way: tried[way].seconds)
    unpinned, bare, agent = [], [], []
    for _ in range(TURNS):
        unpinned.append(bare_loads(bench, bench.folder / "store", best, over))
        bare.append(bare_loads(bench, repository, best, over))
        # With one call at a time the server would wait for the agent after each.
        agent.append(agent_loads(bench, models, max(best, 2)))
    rate = median(one.seconds for one in bare) / median(one.seconds for one in agent)
    passes = {
        name: [asdict(one) for one in found]
        for name, found in (("unpinned", unpinned), ("bare", bare), ("agent", agent))
    }
    tried_s = {f"{over} {lanes}": one.seconds for (over, lanes), one in tried.items()}
    figures = {"models": len(models), "tried_s": tried_s, "over": over, "lanes": best, "rate": rate}
    keep(record("api", **figures, **passes), "agent-api")


def laid_out(bench: Bench, models: list[DesiredModel]) -> Path:
    """Return a repository that an agent has filled before its server starts."""
    agent = bench.agent("shard", Ports.free(), models)
    assert agent.fetch(most_s=600) == 0, agent.log
    bench.stop()
    return agent.models


def bare_loads(bench: Bench, repository: Path, lanes: int, over: str) -> Pass:
    """Fill a server by calls alone, so many at a time."""
    names = sorted(entry.name for entry in repository.iterdir())
    server = bench.serve(f"bare-{lanes}", repository, everything=False)
    load = loader(server, lanes, over)
    before_s = cpu_s(server.pid)
    with ThreadPoolExecutor(lanes) as threads:
        began = time.monotonic()
        list(threads.map(load, names))
        took_s = time.monotonic() - began
    found = Pass(took_s, server_cpu_s=cpu_s(server.pid) - before_s)
    bench.stop()
    return found


def loader(server: TritonProcess, lanes: int, over: str) -> Callable[[str], None]:
    """Return what loads a model by one call."""
    if over == "grpc":
        control = GrpcControl(f"127.0.0.1:{server.ports.grpc}")
        return lambda name: control.load(name, timeout_s=600)
    pool = urllib3.PoolManager(maxsize=lanes, retries=False)

    def load(name: str) -> None:
        answer = pool.request("POST", f"{server.http_url}/v2/repository/models/{name}/load", body=b"{}")
        assert answer.status == 200, answer.data

    return load


def agent_loads(bench: Bench, models: list[DesiredModel], lanes: int) -> Pass:
    """Have a running agent, its files there, fill a server that has restarted empty."""
    ports = Ports.free()
    agent = bench.agent("shard", ports, models)
    agent.arguments = (*agent.arguments, *over_grpc(ports), "--parallel-loads", str(lanes))
    agent.start()
    agent.signal(signal.SIGSTOP)
    server = bench.serve("shard", agent.models, everything=False, ports=ports)
    server_s, agent_s = cpu_s(server.pid), cpu_s(agent.pid)
    began = time.monotonic()
    agent.signal(signal.SIGCONT)
    until(lambda: is_ready(agent))
    took_s = time.monotonic() - began
    found = Pass(took_s, cpu_s(server.pid) - server_s, cpu_s(agent.pid) - agent_s)
    assert agent.done("load") == len(models)
    assert "loads and unloads go over HTTP" not in agent.log
    bench.stop()
    return found


def over_grpc(ports: Ports) -> tuple[str, str]:
    return "--server-grpc-url", f"127.0.0.1:{ports.grpc}"


def test_many_servers(bench: Bench) -> None:
    """10,000 models over 40 servers that have restarted empty, by 40 running agents that share their cores.

    The agents stand still while the servers start, so that all begin at once, as the bare calls do. They send
    their loads over gRPC, as the manifests have it; the bare calls go as they are fastest.
    """
    shards, each = 40, 250
    parts = [bench.models(each, first=each * shard) for shard in range(shards)]
    first = [bench.agent(f"shard-{shard}", Ports.free(), part) for shard, part in enumerate(parts)]
    for agent in first:
        assert agent.fetch(most_s=600) == 0, agent.log
    repositories = [agent.models for agent in first]
    tried_s = {over: bare_servers_s(bench, repositories, over) for over in OVER}
    over = min(tried_s, key=lambda way: tried_s[way])
    bare, turns = [], []
    for _ in range(TURNS):
        bare.append(bare_servers_s(bench, repositories, over))
        turns.append(agents_of_servers(bench, parts))
    keep(
        record(
            "servers",
            models=shards * each,
            servers=shards,
            tried_s=tried_s,
            over=over,
            bare_s=bare,
            agents=[asdict(turn) for turn in turns],
            rate=median(bare) / median(turn.seconds for turn in turns),
        ),
        "agent-servers",
    )


def agents_of_servers(bench: Bench, parts: list[list[DesiredModel]]) -> AgentsTurn:
    """Have running agents, their files there, fill their servers, which have restarted empty."""
    numbers = iter(free_ports(3 * len(parts)))  # drawn at once: no two alike
    ports = [Ports(http=next(numbers), grpc=next(numbers), metrics=next(numbers)) for _ in parts]
    agents = [bench.agent(f"shard-{shard}", ports[shard], part) for shard, part in enumerate(parts)]
    for agent, own in zip(agents, ports, strict=True):
        agent.arguments = (*agent.arguments, *over_grpc(own))
        agent.start()
        until(partial(has_looked, agent))
        agent.signal(signal.SIGSTOP)
    for shard, agent in enumerate(agents):
        bench.serve(f"shard-{shard}", agent.models, everything=False, ports=ports[shard])
    before = sum(cpu_s(agent.pid) for agent in agents)
    began = time.monotonic()
    for agent in agents:
        agent.signal(signal.SIGCONT)
    until(lambda: all(is_ready(agent) for agent in agents))
    took_s = time.monotonic() - began
    found = AgentsTurn(took_s, cpu_s=sum(cpu_s(agent.pid) for agent in agents) - before)
    bench.stop()
    return found


def bare_servers_s(bench: Bench, repositories: list[Path], over: str) -> float:
    """Seconds of bare calls, four at a time over all servers."""
    calls = []
    for shard, repository in enumerate(repositories):
        load = loader(bench.serve(f"bare-{shard}", repository, everything=False), 4, over)
        calls.append([partial(load, entry.name) for entry in sorted(repository.iterdir())])
    with ThreadPoolExecutor(4) as threads:
        began = time.monotonic()
        list(threads.map(lambda call: call(), [call for row in zip(*calls, strict=True) for call in row]))
        took_s = time.monotonic() - began
    bench.stop()
    return took_s


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds: the server's own start with all; the agent's looking through files, both starting, ready."""

    bare_s: float
    fetch_again_s: float
    server_s: float
    agent_s: float

    @property
    def ratio(self) -> float:
        return (self.fetch_again_s + self.server_s + self.agent_s) / self.bare_s


def test_cold_start(bench: Bench) -> None:
    """10,000 models on one server, their files there: beside the server's own start with all of them."""
    models = bench.models(10_000)
    first = timed(lambda: bench.agent("shard", Ports.free(), models).fetch(most_s=1800))
    starts = []
    for turn in range(TURNS):
        if turn:
            bench.stop()
        agent, start = cold_start(bench, models)
        starts.append(start)
    states = {model["state"] for model in agent.paged(limit=1000).values()}
    assert states == {"Loaded"}
    idle = idle_share(agent)
    change_s = changed_s(bench, agent, models)
    keep(
        record(
            "cold-start",
            models=len(models),
            fetch_s=first,
            starts=[asdict(start) for start in starts],
            ratio=median(start.ratio for start in starts),
            agent_peak_memory_kib=peak_memory_kib(agent.pid),
            agent_idle_cores=idle,
            change_s=change_s,
        ),
        "agent-cold-start",
    )


def cold_start(bench: Bench, models: list[DesiredModel]) -> tuple[AgentProcess, ColdStart]:
    """Start a server with all that is in a folder; then one with an agent beside it, which goes on."""
    began = time.monotonic()
    bench.serve("bare", bench.folder / "store", everything=True)
    bare_s = time.monotonic() - began
    bench.stop()
    ports = Ports.free()
    agent = bench.agent("shard", ports, models)
    again = timed(lambda: agent.fetch(most_s=1800))
    began = time.monotonic()
    with ThreadPoolExecutor(1) as beside:  # the containers of a pod start together
        starting = beside.submit(agent.start)
        bench.serve("shard", agent.models, everything=True, ports=ports)
        served = time.monotonic() - began
        starting.result()
    until(lambda: is_ready(agent))
    seen = time.monotonic() - began - served
    assert agent.done("load") == 0
    return agent, ColdStart(bare_s=bare_s, fetch_again_s=again, server_s=served, agent_s=seen)


def changed_s(bench: Bench, agent: AgentProcess, models: list[DesiredModel]) -> float:
    """Seconds from one more model in the documents until it is loaded."""
    (more,) = bench.models(1, first=len(models))
    texts = documents(*models, more)
    began = time.monotonic()
    mount_files(agent.configs, texts)
    until(lambda: urllib3.request("GET", f"{agent.server_url}/v2/models/{more.name}/ready").status == 200)
    return time.monotonic() - began


def idle_share(agent: AgentProcess, seconds: float = 30.0) -> float:
    """Cores that an agent with nothing to do takes."""
    before = cpu_s(agent.pid)
    time.sleep(seconds)
    return (cpu_s(agent.pid) - before) / seconds


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100  # USER_HZ, proc(5)


def peak_memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def is_ready(agent: AgentProcess) -> bool:
    return agent.get("/readyz")[0] == 200


def has_looked(agent: AgentProcess) -> bool:
    """Return whether it has begun: it has looked for its server."""
    return "not asked yet" not in agent.get("/readyz")[1]


def until(truth: Callable[[], object], seconds: float = 1800.0) -> None:
    deadline = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < deadline
        time.sleep(LOOKS_S)


def timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def record(track: str, **figures: Any) -> dict[str, Any]:
    return json.loads(json.dumps({"suite": "agent", "track": track, "commit": commit(), **figures}))

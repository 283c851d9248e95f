"""A real Triton on simulated GPUs: what it takes is what was planned, to the byte, and it leaves no trace."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from planner.errors import ShardpackError
from planner.rehearsal.gpus import environment
from planner.rehearsal.triton import Ports, TritonOptions
from planner.rehearsal.triton_files import make_backends

pytestmark = pytest.mark.triton

GIB = 2**30
MIB = 2**20
CONTEXT = 100 * MIB  # of the fixture's GPU
POOL = 32 * MIB
IDLE = CONTEXT + POOL
ROOM = GIB - 16 * MIB - IDLE  # left for models on an idle shard's GPU

DOUBLE = """
import numpy
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        numbers = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", numbers * numpy.float32(2))])
"""


@pytest.fixture
def shard(triton, machine, t4):
    """A shard of two GPUs of 1 GiB, a and b."""
    machine.has(t4("a"), t4("b"))
    gpus = environment(machine.native, machine.directory, visible=["GPU-a", "GPU-b"])
    return triton.start(gpus=gpus, options=TritonOptions(pool_bytes=POOL))


def test_an_idle_shard_pays_context_and_pool_on_every_gpu_that_it_sees(shard, machine):
    assert (machine.used_bytes(0), machine.used_bytes(1)) == (IDLE, IDLE)


def test_without_a_pool_the_context_is_still_paid(triton, machine, t4):
    machine.has(t4("a"), t4("b"))
    gpus = environment(machine.native, machine.directory, visible=["GPU-b"])
    triton.start(gpus=gpus, options=TritonOptions(pool_bytes=0))

    assert (machine.used_bytes(0), machine.used_bytes(1)) == (0, CONTEXT)


def test_models_take_their_bytes_on_the_gpu_that_they_are_pinned_to(triton, shard, machine):
    triton.add_sim("one", gpu=1, gpu_bytes=1_000_001, base_bytes=5_000)
    triton.add_sim("other", gpu=1, gpu_bytes=2_000_003, base_bytes=5_000)

    assert (shard.load("one"), shard.load("other")) == ((200, None), (200, None))

    assert machine.used_bytes(0) == IDLE
    assert machine.used_bytes(1) == IDLE + 5_000 + 1_000_001 + 2_000_003
    assert shard.infer("one", INPUT0=[1.5, -2.0]) == {"OUTPUT0": [1.5, -2.0]}


def test_an_unload_frees_the_model_and_keeps_base_and_residual(triton, shard, machine):
    triton.add_sim("one", gpu=0, gpu_bytes=1_000_001, base_bytes=5_000, residual_bytes=300)
    for _ in range(2):
        shard.load("one")
        shard.unload("one")

    assert machine.used_bytes(0) == IDLE + 5_000 + 2 * 300


def test_two_backends_pay_a_base_each(native, machine, triton, t4):
    machine.has(t4("a"))
    make_backends(
        triton.home.backends, files=triton.home.files, native=native, simulated=("sim", "onnxruntime")
    )
    triton.add_sim("one", gpu=0, gpu_bytes=10, base_bytes=5_000)
    triton.add_sim("other", gpu=0, gpu_bytes=20, base_bytes=7_000)
    config = triton.repository / "other/config.pbtxt"
    config.write_text(config.read_text().replace('"sim"', '"onnxruntime"'))
    gpus = environment(machine.native, machine.directory, visible=["GPU-a"])
    shard = triton.start(gpus=gpus, options=TritonOptions(pool_bytes=POOL, load_at_start=("*",)))

    assert machine.used_bytes(0) == IDLE + 5_000 + 10 + 7_000 + 20
    assert shard.infer("other", INPUT0=[3.0]) == {"OUTPUT0": [3.0]}


def test_a_model_that_does_not_fit_is_refused_and_leaves_nothing(triton, shard, machine):
    triton.add_sim("fills", gpu=0, gpu_bytes=ROOM)
    triton.add_sim("more", gpu=0, gpu_bytes=1)

    assert shard.load("fills") == (200, None)
    status, answer = shard.load("more")

    assert status == 400
    assert "out of memory" in answer["error"]
    assert machine.used_bytes(0) == IDLE + ROOM


def test_the_load_peak_must_fit_although_it_passes(triton, shard, machine):
    triton.add_sim("high", gpu=0, gpu_bytes=10, peak_bytes=ROOM)
    triton.add_sim("higher", gpu=1, gpu_bytes=10, peak_bytes=ROOM + 1)

    assert shard.load("high") == (200, None)
    status, answer = shard.load("higher")

    assert (status, "out of memory" in answer["error"]) == (400, True)
    assert (machine.used_bytes(0), machine.used_bytes(1)) == (IDLE + 10, IDLE)


def test_the_peak_shows_while_the_model_loads(triton, shard, machine):
    triton.add_sim("slow", gpu=0, gpu_bytes=10, peak_bytes=1000, peak_ms=60_000)
    threading.Thread(target=_load_until_killed, args=(shard, "slow"), daemon=True).start()
    while machine.used_bytes(0) == IDLE:
        time.sleep(0.05)

    assert machine.used_bytes(0) == IDLE + 1000


def _load_until_killed(shard, model):
    """The server is killed under this call, which is no error of the test's."""
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        shard.load(model)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"fail": 'no "engine"\\for this GPU'}, 'no "engine"\\for this GPU'),
        ({"gpu_bytes": "1Gi"}, "'1Gi', not a whole number"),
        ({"gpu_bytes": -1}, "not a whole number"),
        ({"gpu_bytes": 10, "peak_bytes": 9}, "peak_bytes 9 is less than gpu_bytes 10"),
        ({"gpu_bytes": 10, "residual_bytes": 11}, "residual_bytes 11 is more than gpu_bytes 10"),
    ],
)
def test_a_load_that_must_fail_says_why(triton, shard, machine, parameters, words):
    triton.add_sim("broken", gpu=0, **parameters)

    status, answer = shard.load("broken")

    assert status == 400
    assert words in answer["error"]
    assert machine.used_bytes(0) == IDLE


def test_a_load_fails_while_its_file_exists(triton, shard, tmp_path):
    switch = tmp_path / "broken"
    switch.touch()
    triton.add_sim("flaky", fail_file=switch)

    assert shard.load("flaky")[0] == 400
    switch.unlink()
    assert shard.load("flaky") == (200, None)


def test_each_input_comes_back_under_its_own_number(triton, shard):
    triton.add_sim("two-inputs", gpu=0, gpu_bytes=1)
    shard.load("two-inputs")

    answer = shard.infer("two-inputs", INPUT1=[1.0], INPUT0=[2.0, 3.0])

    assert answer == {"OUTPUT0": [2.0, 3.0], "OUTPUT1": [1.0]}


def test_a_python_model_answers_with_every_number(triton):
    triton.add_python("double", DOUBLE)
    shard = triton.start()
    shard.load("double")

    assert shard.infer("double", INPUT0=[1.5, 2.5, -3.0]) == {"OUTPUT0": [3.0, 5.0, -6.0]}


def test_a_killed_server_frees_everything_and_comes_back_empty_on_the_same_port(triton, shard, machine):
    triton.add_sim("one", gpu=0, gpu_bytes=1_000_001)
    triton.add_python("double", DOUBLE)
    shard.load("one")
    shard.load("double")
    url, first = shard.server.http_url, shard.server.pid

    assert shard.server.kill() == -signal.SIGKILL
    assert (machine.used_bytes(0), shard.server.is_live()) == (0, False)
    assert list(Path("/dev/shm").glob(f"{shard.server.server_id}*")) == []

    shard.server.start()
    shard.server.wait_live()
    assert (shard.server.http_url, shard.server.pid != first) == (url, True)
    assert machine.used_bytes(0) == IDLE
    assert shard.post("/v2/models/one/infer")[0] == 404


def test_making_the_backends_again_does_not_disturb_a_running_server(triton, shard, native):
    triton.add_sim("one", gpu=0, gpu_bytes=10)
    shard.load("one")

    make_backends(triton.home.backends, files=triton.home.files, native=native)

    assert shard.infer("one", INPUT0=[1.0]) == {"OUTPUT0": [1.0]}
    assert shard.server.is_live()


def test_a_server_that_is_told_to_end_ends_by_itself(shard):
    assert shard.server.terminate() == 0
    assert shard.server.exit_code == 0


def test_a_server_whose_process_died_comes_back_like_one_that_was_killed(triton):
    shard = triton.start()
    os.kill(shard.server.pid, signal.SIGKILL)

    shard.server.start()
    shard.server.wait_live()

    assert shard.post("/v2/repository/index") == (200, [])


def test_a_server_outlives_the_thread_that_asked_for_it_but_not_its_process(tmp_path, triton):
    code = f"""
import sys, threading
from pathlib import Path
from planner.rehearsal.triton import start_triton
from planner.rehearsal.triton_files import prepare_triton
work = Path({str(tmp_path)!r})
servers = []
thread = threading.Thread(
    target=lambda: servers.append(start_triton("a", work / "models", home=prepare_triton(work))))
thread.start()
thread.join()
print(servers[0].pid if servers[0].is_live() else 0, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        server = int(parent.stdout.readline())
        assert server
        assert _state(server) not in "ZX-"
        parent.kill()
    deadline = time.monotonic() + 30
    while _state(server) not in "ZX-":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _state(pid):
    """The kernel's letter for a process (Z and X are dead ones); '-' for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "-"


@pytest.mark.parametrize("port", ["http", "grpc", "metrics"])
def test_a_port_of_another_server_is_an_error_and_not_taken_for_ones_own(triton, port):
    other = triton.start("other").server.ports
    ports = {name: getattr(Ports.free(), name) for name in ("http", "grpc", "metrics")}
    ports[port] = getattr(other, port)

    with pytest.raises(ShardpackError, match="already in use"):
        triton.start("second", options=TritonOptions(ports=Ports(**ports)))


def test_the_grpc_endpoint_can_be_left_closed(triton):
    ports = dataclasses.replace(Ports.free(), grpc=None)

    shard = triton.start(options=TritonOptions(ports=ports))

    assert shard.server.ports == ports
    assert "--allow-grpc=false" in shard.server.command


def test_servers_can_be_started_at_the_same_time(triton):
    with ThreadPoolExecutor(3) as pool:
        shards = list(pool.map(triton.start, ["a", "b", "c"]))

    assert [shard.server.is_live() for shard in shards] == [True] * 3
    assert len({port for shard in shards for port in shard.server.ports.opened()}) == 9


def test_a_server_that_cannot_start_shows_its_log(triton):
    triton.repository.rmdir()

    with pytest.raises(ShardpackError, match=f"(?s)server news ended with 1:.*{triton.repository.name}"):
        triton.start()


def test_a_gpu_older_than_triton_supports_is_not_used(triton, machine, t4):
    machine.has(t4("old", compute_capability=(5, 2)))
    triton.add_sim("one", gpu=0, gpu_bytes=10)
    gpus = environment(machine.native, machine.directory, visible=["GPU-old"])
    shard = triton.start(gpus=gpus)

    assert shard.load("one")[0] == 400
    assert machine.used_bytes(0) == 0


def test_a_shard_without_gpus_sees_none(triton, machine, t4):
    machine.has(t4())
    triton.add_sim("one", gpu=0, gpu_bytes=10)
    shard = triton.start()

    assert shard.load("one")[0] == 400
    assert machine.used_bytes(0) == 0
    assert shard.server.environment["CUDA_VISIBLE_DEVICES"] == ""

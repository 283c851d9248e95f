"""The native parts built once, and Triton servers that never outlive their test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3

from planner.errors import InputError
from planner.rehearsal.build import build_native
from planner.rehearsal.gpus import SimulatedGpu, environment, write_state
from planner.rehearsal.triton import start_triton
from planner.rehearsal.triton_files import find_triton, prepare_triton

GIB = 2**30
MIB = 2**20


@pytest.fixture(scope="session")
def native(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not on PATH")
    return build_native(tmp_path_factory.mktemp("native"))


@pytest.fixture
def server_and_compiler():
    """Skip the test where a real server cannot be had."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    try:
        find_triton()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def machine(native, tmp_path):
    """A machine whose GPUs the test chooses."""
    return Machine(native=native, directory=tmp_path / "gpus")


@dataclass(frozen=True)
class Machine:
    native: object
    directory: Path

    def has(self, *gpus, **driver):
        write_state(self.directory, gpus, **driver)
        return self

    def environment(self, visible=None):
        return {**os.environ, **environment(self.native, self.directory, visible=visible)}

    def start(self, code, visible=None):
        """Start Python code that sees the GPUs; `cuda` and `pynvml` are there, it prints JSON lines."""
        return subprocess.Popen(
            [sys.executable, "-c", _PRELUDE + code],
            env=self.environment(visible),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code, visible=None):
        """Run such code and return the last JSON line that it prints."""
        with self.start(code, visible) as process:
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return json.loads(output.splitlines()[-1])

    def used_bytes(self, gpu=0):
        """What NVML reports, the driver's reservation apart."""
        return self.run(f"show(memory(pynvml.nvmlDeviceGetHandleByIndex({gpu}))['used'])")


_PRELUDE = """
import ctypes, json, os, sys, pynvml

cuda = ctypes.CDLL(None)
pynvml.nvmlInit()

def show(value):
    print(json.dumps(value), flush=True)

def malloc(size):
    address = ctypes.c_void_p()
    return cuda.cudaMalloc(ctypes.byref(address), ctypes.c_size_t(size)), address

def memory(handle):
    info = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    return {name: getattr(info, name) for name in ("total", "reserved", "used", "free")}

def processes(handle):
    found = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    return [[one.pid, one.usedGpuMemory, one.gpuInstanceId] for one in found]
"""


@pytest.fixture
def t4():
    """A GPU of 1 GiB, so that exact sums stay readable; called with the last part of its UUID."""

    def make(name="a", **changes):
        return SimulatedGpu(
            uuid=f"GPU-{name}",
            product="Tesla T4",
            **{"memory_bytes": GIB, "reserved_bytes": 16 * MIB, "context_bytes": 100 * MIB, **changes},
        )

    return make


@pytest.fixture
def triton(native, tmp_path):
    """Start servers on repositories of the test's own; all are killed afterwards."""
    try:
        find_triton()
    except InputError as error:
        pytest.skip(str(error))
    bench = TritonBench(home=prepare_triton(tmp_path / "run", native=native), repository=tmp_path / "models")
    bench.repository.mkdir()
    yield bench
    for server in bench.servers:
        server.kill()


class TritonBench:
    def __init__(self, home, repository):
        self.home, self.repository, self.servers = home, repository, []

    def start(self, name="news", gpus=None, options=None):
        server = start_triton(name, self.repository, home=self.home, gpus=gpus, options=options)
        self.servers.append(server)
        return Client(server)

    def add_sim(self, name, gpu=None, **parameters):
        """A model of the sim backend, on one GPU ordinal or on the CPU."""
        group = "kind: KIND_CPU" if gpu is None else f"kind: KIND_GPU gpus: [{gpu}]"
        lines = [
            f"parameters {{key: {json.dumps(key)} value {{string_value: {json.dumps(str(value))}}}}}"
            for key, value in parameters.items()
        ]
        self._add(name, f'backend: "sim"\ninstance_group [{{count: 1 {group}}}]\n' + "\n".join(lines))

    def add_python(self, name, code):
        folder = self._add(name, 'backend: "python"\ninstance_group [{kind: KIND_CPU count: 1}]')
        (folder / "1/model.py").write_text(code)

    def _add(self, name, config):
        folder = self.repository / name
        (folder / "1").mkdir(parents=True)
        tensors = "".join(
            f'{side} [{{name: "{side.upper()}{k}" data_type: TYPE_FP32 dims: [-1]}}]\n'
            for side in ("input", "output")
            for k in range(2 if name.startswith("two") else 1)
        )
        (folder / "config.pbtxt").write_text(f"max_batch_size: 0\n{tensors}{config}\n")
        return folder


class Client:
    def __init__(self, server):
        self.server = server

    def post(self, path, body=None):
        headers = {"Connection": "close"}
        url = f"{self.server.http_url}{path}"
        answer = urllib3.request("POST", url, body=json.dumps(body or {}), headers=headers, retries=False)
        return answer.status, answer.json() if answer.data else None

    def load(self, model):
        return self.post(f"/v2/repository/models/{model}/load")

    def unload(self, model):
        """Unloading is asynchronous: return when the index says that it is over."""
        self.post(f"/v2/repository/models/{model}/unload")
        while True:
            _, rows = self.post("/v2/repository/index")
            if next(row for row in rows if row["name"] == model).get("state") == "UNAVAILABLE":
                return

    def infer(self, model, **inputs):
        tensors = [
            {"name": name, "datatype": "FP32", "shape": [len(data)], "data": data}
            for name, data in inputs.items()
        ]
        status, answer = self.post(f"/v2/models/{model}/infer", {"inputs": tensors})
        assert status == 200, answer
        return {output["name"]: output["data"] for output in answer["outputs"]}

"""The native parts by themselves: what real pynvml and a CUDA program see of the simulated GPUs."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError, ShardpackError
from planner.rehearsal import build
from planner.rehearsal.build import build_native
from planner.rehearsal.gpus import SimulatedMig, peak_bytes

GIB = 2**30
MIB = 2**20
SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, NO_DEVICE, INVALID_DEVICE = 0, 1, 2, 100, 101

# Mutual waiting: a program says that it is ready by a line, and ends when its stdin does.
HOLD = "show('ready'); sys.stdin.read()"


# ---- building


def test_a_second_build_finds_the_first_one(native):
    cache = native.cudart.parent.parent
    before = native.cudart.stat()

    assert build_native(cache) == native
    assert native.cudart.stat() == before
    assert [path.name for path in cache.iterdir()] == [native.cudart.parent.name]


def test_callers_that_build_at_the_same_time_get_the_same_whole_build(native, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        builds = list(pool.map(lambda _: build_native(tmp_path / "shared"), range(3)))

    assert builds[0] == builds[1] == builds[2]
    assert builds[0].nvml.is_file()
    assert len(list((tmp_path / "shared").iterdir())) == 1


def test_without_gcc_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(InputError, match="apt install gcc"):
        build_native(tmp_path / "cache")


def test_a_failing_compiler_is_quoted_and_leaves_nothing(tmp_path, monkeypatch):
    compiler = tmp_path / "bin/gcc"
    compiler.parent.mkdir()
    compiler.write_text("#!/bin/sh\necho 'stdio.h: No such file' >&2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}:{os.environ['PATH']}")

    with pytest.raises(ShardpackError, match=r"stdio\.h: No such file"):
        build_native(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


# ---- NVML


def test_pynvml_sees_the_fleet(machine, t4):
    machine.has(t4("a", foreign_bytes=5), t4("b", utilization_percent=7), driver_version="565.57.01")

    seen = machine.run("""
gpus = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
show({
    "driver": pynvml.nvmlSystemGetDriverVersion(),
    "cuda": pynvml.nvmlSystemGetCudaDriverVersion(),
    "names": [pynvml.nvmlDeviceGetName(h) for h in gpus],
    "uuids": [pynvml.nvmlDeviceGetUUID(h) for h in gpus],
    "memory": memory(gpus[0]),
    "v1_used": pynvml.nvmlDeviceGetMemoryInfo(gpus[0]).used,
    "utilization": pynvml.nvmlDeviceGetUtilizationRates(gpus[1]).gpu,
    "bus": pynvml.nvmlDeviceGetPciInfo(gpus[1]).busId,
    "by_uuid": pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByUUID("GPU-b")),
    "processes": processes(gpus[0]),
})""")

    assert seen == {
        "driver": "565.57.01",
        "cuda": 12040,
        "names": ["Tesla T4", "Tesla T4"],
        "uuids": ["GPU-a", "GPU-b"],
        "memory": {"total": GIB, "reserved": 16 * MIB, "used": 5, "free": GIB - 16 * MIB - 5},
        "v1_used": 16 * MIB + 5,
        "utilization": 7,
        "bus": "00000000:02:00.0",
        "by_uuid": 1,
        "processes": [],
    }


def test_a_changed_state_is_seen_at_once_through_the_same_handle(machine, t4):
    machine.has(t4())
    program = machine.start("""
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
show(memory(handle)["used"])
sys.stdin.readline()
show(memory(handle)["used"])
""")
    with program:
        first = program.stdout.readline()
        machine.has(t4(foreign_bytes=123))
        second, _ = program.communicate("\n", timeout=60)

    assert (json.loads(first), json.loads(second)) == (0, 123)


def test_records_have_the_sizes_that_nvidia_gives_them():
    """sim_nvml.c asserts its own sizes when it is compiled; these are the other side's."""
    ours = re.findall(
        r"_Static_assert\(sizeof\(struct (\w+)\) == (\d+)", (build._SOURCES / "sim_nvml.c").read_text()
    )
    nvidias = {
        "memory_v1": pynvml.c_nvmlMemory_t,
        "memory_v2": pynvml.c_nvmlMemory_v2_t,
        "process_info": pynvml.c_nvmlProcessInfo_v2_t,
        "pci_info": pynvml.nvmlPciInfo_t,
        "utilization": pynvml.c_nvmlUtilization_t,
        "attributes": pynvml.c_nvmlDeviceAttributes,
    }

    sizes = {name: ctypes.sizeof(record) for name, record in nvidias.items()}
    assert {name: int(size) for name, size in ours} == sizes


@pytest.mark.parametrize(
    ("driver", "gpu_error", "expected"), [({"init_error": 9}, None, 9), ({}, 15, 15), ({}, None, 0)]
)
def test_a_broken_driver_or_gpu_answers_with_its_code(machine, t4, driver, gpu_error, expected):
    machine.has(t4(nvml_error=gpu_error), **driver)
    code = """
import json, pynvml
try:
    pynvml.nvmlInit()
    pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0))
    print(0)
except pynvml.NVMLError as error:
    print(error.value)
"""

    answer = subprocess.run(
        [sys.executable, "-c", code], env=machine.environment(), capture_output=True, text=True, check=True
    )

    assert int(answer.stdout) == expected


def test_an_unknown_layout_of_the_memory_record_is_refused(machine, t4):
    machine.has(t4())

    assert (
        machine.run("""
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
try:
    pynvml.nvmlDeviceGetMemoryInfo(handle, version=0x03000030)
except pynvml.NVMLError as error:
    show(error.value)
""")
        == 25
    )  # NVML_ERROR_ARGUMENT_VERSION_MISMATCH


# ---- CUDA


def test_a_process_pays_its_context_once_and_each_byte_it_takes(machine, t4):
    machine.has(t4("a"), t4("b"))

    seen = machine.run("""
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
used = lambda: memory(handle)["used"]
steps = [used(), cuda.cudaSetDevice(0), used(), cuda.cudaSetDevice(0), used()]
code, address = malloc(12345)
steps += [code, used(), cuda.cudaFree(address), used(), cuda.cudaFree(address)]
show([steps, processes(handle) == [[os.getpid(), used(), 0xFFFFFFFF]],
      memory(pynvml.nvmlDeviceGetHandleByIndex(1))["used"]])
""")

    context = 100 * MIB
    steps = [0, SUCCESS, context, SUCCESS, context, SUCCESS, context + 12345, SUCCESS, context, INVALID_VALUE]
    assert seen == [steps, True, 0]


def test_the_last_byte_fits_and_one_more_does_not(machine, t4):
    machine.has(t4(foreign_bytes=1000))
    room = GIB - 16 * MIB - 100 * MIB - 1000

    assert machine.run(f"show([malloc({room})[0], malloc(1)[0]])") == [SUCCESS, OUT_OF_MEMORY]
    assert machine.run(f"show(malloc({room} + 1)[0])") == OUT_OF_MEMORY


def test_a_context_that_does_not_fit_is_refused(machine, t4):
    machine.has(t4(foreign_bytes=GIB - 50 * MIB))

    assert machine.run("show(cuda.cudaSetDevice(0))") == OUT_OF_MEMORY
    assert machine.used_bytes() == GIB - 50 * MIB


def test_memory_info_is_what_malloc_obeys(machine, t4):
    machine.has(t4())

    free, total = machine.run("""
free, total = ctypes.c_size_t(), ctypes.c_size_t()
cuda.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
show([free.value, total.value])""")

    assert (free, total) == (GIB - 116 * MIB, GIB - 16 * MIB)


def test_device_memory_can_be_written_and_read(machine, t4):
    machine.has(t4())

    assert (
        machine.run("""
_, device = malloc(64)
back = ctypes.create_string_buffer(8)
cuda.cudaMemcpy(device, b"shardpak", ctypes.c_size_t(8), 1)
cuda.cudaMemcpy(back, device, ctypes.c_size_t(8), 2)
show(back.raw.decode())""")
        == "shardpak"
    )


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (["GPU-b", "GPU-a"], ["GPU-b", "GPU-a"]),
        (["1"], ["GPU-b"]),
        (["GPU-b", "GPU-gone", "GPU-a"], ["GPU-b"]),
        (["GPU-gone"], []),
        ([], []),
        (None, ["GPU-a", "GPU-b"]),
    ],
)
def test_cuda_sees_the_listed_gpus_in_that_order(machine, t4, visible, expected):
    machine.has(t4("a"), t4("b"))

    count, used = machine.run(
        """
count = ctypes.c_int()
cuda.cudaGetDeviceCount(ctypes.byref(count))
for ordinal in range(count.value):
    cuda.cudaSetDevice(ordinal)
    malloc(ordinal + 1)
used = {pynvml.nvmlDeviceGetUUID(h): memory(h)["used"]
        for h in map(pynvml.nvmlDeviceGetHandleByIndex, range(2))}
show([count.value, used])""",
        visible,
    )

    assert count == len(expected)
    charged = {uuid: 100 * MIB + ordinal + 1 for ordinal, uuid in enumerate(expected)}
    assert used == {"GPU-a": 0, "GPU-b": 0, **charged}


def test_a_killed_process_frees_its_memory_even_before_it_is_reaped(machine, t4):
    machine.has(t4())
    with machine.start(f"malloc(1000); {HOLD}") as program:
        program.stdout.readline()
        held = machine.used_bytes()
        program.kill()
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)  # dead, and still a zombie
        left = machine.used_bytes()

    assert (held, left) == (100 * MIB + 1000, 0)


def test_what_dead_processes_left_is_swept_away(machine, t4):
    machine.has(t4())
    for _ in range(3):
        machine.run("show(malloc(1)[0])")

    assert len(list(machine.directory.glob("process.*"))) == 1


def test_a_later_process_with_the_same_pid_does_not_inherit(machine, t4):
    machine.has(t4())
    with machine.start(f"malloc(1000); {HOLD}") as program:
        program.stdout.readline()
        ledger = machine.directory / f"process.{program.pid}"
        content = ledger.read_bytes()
        started = int.from_bytes(content[:8], sys.byteorder)
        ledger.write_bytes((started - 1).to_bytes(8, sys.byteorder) + content[8:])
        assert machine.used_bytes() == 0
        program.kill()


def test_a_forked_child_owns_nothing_and_pays_for_itself(machine, t4):
    machine.has(t4())

    own, both = machine.run("""
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
malloc(1000)
own = memory(handle)["used"]
reading, writing = os.pipe()
if os.fork() == 0:
    malloc(1)
    os.write(writing, json.dumps(memory(handle)["used"]).encode())
    os._exit(0)
both = json.loads(os.read(reading, 100))
os.wait()
show([own, both])""")

    assert own == 100 * MIB + 1000
    assert both == own + 100 * MIB + 1


def test_processes_that_race_for_the_last_bytes_never_take_more_than_there_is(machine, t4):
    machine.has(t4(context_bytes=0))
    block = 8 * MIB
    code = f"""
sys.stdin.readline()
taken = 0
while malloc({block})[0] == 0:
    taken += 1
show(taken)
sys.stdin.readline()
"""
    programs = [machine.start(code) for _ in range(4)]
    for program in programs:
        program.stdin.write("\n")
        program.stdin.flush()
    taken = [json.loads(program.stdout.readline()) for program in programs]
    used = machine.used_bytes()
    for program in programs:
        program.communicate("\n", timeout=60)

    assert sum(taken) == (GIB - 16 * MIB) // block
    assert used == sum(taken) * block


def test_the_most_that_a_process_has_held_is_kept(machine, t4):
    machine.has(t4("a"), t4("b"))
    with machine.start(f"""
cuda.cudaSetDevice(1)
_, address = malloc(5000)
cuda.cudaFree(address)
malloc(1000); {HOLD}""") as program:
        program.stdout.readline()
        peaks = [peak_bytes(machine.directory, program.pid, gpu=gpu) for gpu in range(2)]
        program.communicate("\n", timeout=60)

    assert peaks == [0, 100 * MIB + 5000]
    assert peak_bytes(machine.directory, 0, gpu=0) is None


def test_threads_that_take_and_give_back_leave_the_books_at_zero(machine, t4):
    machine.has(t4(context_bytes=0))

    assert (
        machine.run("""
import threading
def churn():
    for size in range(1, 200):
        code, address = malloc(size)
        assert code == 0 and cuda.cudaFree(address) == 0
threads = [threading.Thread(target=churn) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
show(memory(pynvml.nvmlDeviceGetHandleByIndex(0))["used"])""")
        == 0
    )


# ---- MIG


@pytest.fixture
def mig_gpu(t4):
    instances = tuple(
        SimulatedMig(uuid=f"MIG-{k}", profile="1g.10gb", memory_bytes=256 * MIB, gpu_instance=7 + k)
        for k in range(2)
    )
    return dataclasses.replace(t4("m"), product="NVIDIA H100 80GB HBM3", mig=instances)


def test_pynvml_sees_mig_instances(machine, mig_gpu, t4):
    machine.has(mig_gpu, t4("t", compute_capability=(7, 5)))

    seen = machine.run("""
gpu, old = map(pynvml.nvmlDeviceGetHandleByIndex, range(2))
mig = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, 1)
try:
    pynvml.nvmlDeviceGetMigMode(old)
except pynvml.NVMLError_NotSupported:
    supported = False
show([
    pynvml.nvmlDeviceGetMigMode(gpu), supported, pynvml.nvmlDeviceGetName(mig), pynvml.nvmlDeviceGetUUID(mig),
    pynvml.nvmlDeviceGetGpuInstanceId(mig), memory(mig)["total"],
    pynvml.nvmlDeviceGetAttributes(mig).gpuInstanceSliceCount,
    pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig)),
])""")

    name = "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
    assert seen == [[1, 1], False, name, "MIG-1", 8, 256 * MIB, 1, "GPU-m"]


def test_a_mig_instance_is_charged_apart_and_the_gpu_shows_the_sum(machine, mig_gpu):
    machine.has(mig_gpu)

    count, instances, whole, process = machine.run(
        """
count = ctypes.c_int()
cuda.cudaGetDeviceCount(ctypes.byref(count))
malloc(1000)
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
migs = [pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, k) for k in range(2)]
show([count.value, [memory(m)["used"] for m in migs], memory(gpu)["used"], processes(gpu)[0][1:]])""",
        ["MIG-1", "MIG-0"],
    )

    used = 100 * MIB + 1000
    assert count == 1  # a process uses one MIG instance at most
    assert (instances, whole, process) == ([0, used], used, [used, 8])


# ---- the JSON that the backend reads


@pytest.fixture(scope="session")
def json_text(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not on PATH")
    library = tmp_path_factory.mktemp("json") / "json_text.so"
    source = build._SOURCES / "json_text.c"
    subprocess.run(["gcc", "-Wall", "-fPIC", "-shared", "-o", library, source], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.json_member.restype = ctypes.c_void_p
    loaded.json_member.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    loaded.json_string.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    return loaded


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(document=st.dictionaries(_TEXT, _VALUE, max_size=5), ascii_only=st.booleans(), key=_TEXT)
def test_the_backend_reads_json_as_python_does(json_text, document, ascii_only, key):
    text = json.dumps(document, ensure_ascii=ascii_only).encode()
    out = ctypes.create_string_buffer(1024)
    for name in {*document, key}:
        value = json_text.json_member(text, name.encode())
        assert (value is not None) == (name in document)
        found = value is not None and json_text.json_string(value, out, len(out))
        expected = document.get(name)
        assert (out.value.decode() if found else None) == (expected if isinstance(expected, str) else None)

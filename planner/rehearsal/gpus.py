"""Simulated GPUs: the hardware as data, the state file that the native parts read, a child's environment."""

from __future__ import annotations

import os
import re
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.errors import Fault, InputError
from planner.rehearsal.build import NativeParts

# The limits of native/simgpu.h.
_MAX_GPUS = 64
_MAX_MIG = 8
_MAX_TEXT = 95

# Its struct simgpu_ledger: the start time, then context, allocated and peak of each device.
_LEDGER_HEAD_BYTES = 8
_HOLDING = struct.Struct("=QQQ")

_PROFILE = re.compile(r"(?P<compute>[1-7])g\.(?P<gigabytes>\d+)gb(\+me)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMig:
    """One MIG instance of a simulated GPU.

    Parameters
    ----------
    uuid
        As NVML reports it, ``MIG-...``.
    profile
        The MIG profile's name, as ``1g.10gb``.
    memory_bytes
        Total of the instance as NVML reports it.
    reserved_bytes
        The driver's part of it.
    foreign_bytes
        What processes outside the rehearsal hold.
    gpu_instance
        The instance's id in its GPU; None takes its position.
    """

    uuid: str
    profile: str
    memory_bytes: int
    reserved_bytes: int = 0
    foreign_bytes: int = 0
    gpu_instance: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedGpu:
    """One simulated GPU.

    Parameters
    ----------
    uuid
        As NVML reports it, ``GPU-...``.
    product
        NVML's name of it, as ``Tesla T4``.
    memory_bytes
        Total as NVML reports it, the driver's reservation included.
    reserved_bytes
        What the driver keeps for itself.
    context_bytes
        What a process pays once on this GPU for using it (on one of its MIG instances likewise).
    foreign_bytes
        What processes outside the rehearsal hold.
    compute_capability
        Major and minor; from 8 on the GPU knows MIG.
    utilization_percent
        What NVML answers, 0 to 100.
    mig
        Its MIG instances; the GPU is in MIG mode if there are any.
    nvml_error
        NVML's return code for every call on this GPU (15: the GPU is lost); None for a healthy one.
    """

    uuid: str
    product: str
    memory_bytes: int
    reserved_bytes: int = 0
    context_bytes: int = 0
    foreign_bytes: int = 0
    compute_capability: tuple[int, int] = (8, 0)
    utilization_percent: int = 0
    mig: tuple[SimulatedMig, ...] = ()
    nvml_error: int | None = None


def write_state(
    directory: Path,
    gpus: Sequence[SimulatedGpu],
    *,
    driver_version: str = "550.54.15",
    cuda_version: int = 12040,
    init_error: int | None = None,
) -> None:
    """Put the simulated GPUs into ``directory``; running processes see them from their next call on.

    Parameters
    ----------
    directory
        The GPUs' directory; made if it is absent. Other machines' GPUs live in other directories.
    gpus
        In NVML's order, at most 64.
    driver_version, cuda_version
        What NVML says of itself; CUDA as 1000 x major + 10 x minor.
    init_error
        What ``nvmlInit`` returns instead of success (9: the driver is not loaded); None is success.

    Raises
    ------
    InputError
        GPUs that cannot be: a repeated UUID, a name with a line break, an unknown MIG profile.
    """
    faults = list(_faults(gpus))
    if faults:
        raise InputError(faults)
    directory.mkdir(parents=True, exist_ok=True)
    text = state_text(gpus, driver_version=driver_version, cuda_version=cuda_version, init_error=init_error)
    with tempfile.NamedTemporaryFile("w", dir=directory, prefix="new-state-", delete=False) as file:
        file.write(text)
    Path(file.name).replace(directory / "state")


def state_text(
    gpus: Sequence[SimulatedGpu], *, driver_version: str, cuda_version: int, init_error: int | None
) -> str:
    """Return the state file that says this (``native/simgpu.h`` has its grammar)."""
    lines = [f"driver {driver_version}", f"cuda {cuda_version}"]
    if init_error is not None:
        lines.append(f"init_error {init_error}")
    for index, gpu in enumerate(gpus):
        lines.append(_gpu_line(index, gpu))
        lines.extend(_mig_line(index, position, gpu) for position in range(len(gpu.mig)))
    return "".join(f"{line}\n" for line in lines)


def environment(
    native: NativeParts, directory: Path, *, visible: Sequence[str] | None = None
) -> dict[str, str]:
    """Return the variables that let a child process see the simulated GPUs, through NVML and through CUDA.

    They stand beside the child's other variables; ``LD_LIBRARY_PATH`` and ``LD_PRELOAD`` keep what this
    process has in them.

    Parameters
    ----------
    native
        The compiled parts.
    directory
        The GPUs' directory.
    visible
        UUIDs that CUDA sees, in the order of its ordinals; None for all. NVML always sees every GPU.
    """
    variables = {
        "SHARDPACK_SIM_GPU_DIR": os.fspath(directory.resolve()),
        "LD_LIBRARY_PATH": _prepend(os.fspath(native.nvml.parent), "LD_LIBRARY_PATH"),
        "LD_PRELOAD": _prepend(os.fspath(native.cudart), "LD_PRELOAD"),
    }
    if visible is not None:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(visible)
    return variables


def peak_bytes(directory: Path, pid: int, *, gpu: int, mig: int | None = None) -> int | None:
    """Return the most that a living process has held of a device; None if it never used a GPU.

    Parameters
    ----------
    directory
        The GPUs' directory.
    pid
        The process.
    gpu, mig
        Position of the GPU, and of the MIG instance on it.
    """
    slot = gpu * (_MAX_MIG + 1) + (0 if mig is None else mig + 1)
    try:
        ledger = (directory / f"process.{pid}").read_bytes()
    except FileNotFoundError:
        return None
    return int(_HOLDING.unpack_from(ledger, _LEDGER_HEAD_BYTES + slot * _HOLDING.size)[2])


def _prepend(value: str, variable: str, inherited: Mapping[str, str] = os.environ) -> str:
    rest = inherited.get(variable, "")
    return f"{value}:{rest}" if rest else value


def _gpu_line(index: int, gpu: SimulatedGpu) -> str:
    major, minor = gpu.compute_capability
    return (
        f"gpu index={index} uuid={gpu.uuid} total={gpu.memory_bytes} reserved={gpu.reserved_bytes}"
        f" context={gpu.context_bytes} foreign={gpu.foreign_bytes} compute={major}.{minor}"
        f" utilization={gpu.utilization_percent} mig_mode={int(bool(gpu.mig))} error={gpu.nvml_error or 0}"
        f" name={gpu.product}"
    )


def _mig_line(gpu_index: int, index: int, gpu: SimulatedGpu) -> str:
    instance = gpu.mig[index]
    compute_slices = instance.profile.partition("g.")[0]
    gpu_instance = index if instance.gpu_instance is None else instance.gpu_instance
    major, minor = gpu.compute_capability
    return (
        f"mig gpu={gpu_index} index={index} uuid={instance.uuid} total={instance.memory_bytes}"
        f" reserved={instance.reserved_bytes} context={gpu.context_bytes}"
        f" foreign={instance.foreign_bytes} compute={major}.{minor}"
        f" gi={gpu_instance} ci=0 compute_slices={compute_slices} name={gpu.product} MIG {instance.profile}"
    )


def _faults(gpus: Sequence[SimulatedGpu]) -> Iterator[Fault]:
    if len(gpus) > _MAX_GPUS:
        yield Fault(path="gpus", message=f"{len(gpus)} GPUs, at most {_MAX_GPUS} can be simulated")
    seen: set[str] = set()
    for index, gpu in enumerate(gpus):
        path = f"gpus[{index}]"
        yield from _gpu_faults(path, gpu)
        for uuid in (gpu.uuid, *(instance.uuid for instance in gpu.mig)):
            if uuid in seen:
                yield Fault(path=path, message=f"the UUID {uuid} occurs twice")
            seen.add(uuid)


def _gpu_faults(path: str, gpu: SimulatedGpu) -> Iterator[Fault]:
    yield from _text_faults(path, gpu.uuid, gpu.product)
    fixed_bytes = gpu.reserved_bytes + gpu.foreign_bytes
    if min(gpu.reserved_bytes, gpu.context_bytes, gpu.foreign_bytes) < 0 or fixed_bytes > gpu.memory_bytes:
        yield Fault(path=path, message="reserved and foreign memory must fit in the memory, none below 0")
    if len(gpu.mig) > _MAX_MIG:
        yield Fault(path=f"{path}.mig", message=f"at most {_MAX_MIG} MIG instances can be simulated")
    for position, instance in enumerate(gpu.mig):
        yield from _mig_faults(f"{path}.mig[{position}]", gpu, instance)


def _mig_faults(path: str, gpu: SimulatedGpu, instance: SimulatedMig) -> Iterator[Fault]:
    yield from _text_faults(path, instance.uuid, f"{gpu.product} MIG {instance.profile}")
    if _PROFILE.fullmatch(instance.profile) is None:
        yield Fault(path=path, message=f"{instance.profile!r} is not a MIG profile such as 1g.10gb")


def _text_faults(path: str, uuid: str, name: str) -> Iterator[Fault]:
    if not re.fullmatch(r"[!-~]+", uuid) or "," in uuid or len(uuid) > _MAX_TEXT:
        yield Fault(
            path=path, message=f"{uuid!r} is not a UUID: at most {_MAX_TEXT} visible characters, no comma"
        )
    if not name.isprintable() or not name.strip() or len(name.encode()) > _MAX_TEXT:
        yield Fault(path=path, message=f"{name!r} is not a name: one line of at most {_MAX_TEXT} bytes")

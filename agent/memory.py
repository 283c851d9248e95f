"""What is held of the devices that the server sees. The agent's only home of pynvml, which is optional."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Protocol

from agent.processes import ProcessView

log = logging.getLogger(__name__)

_FRESH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """Memory of one device in bytes, as the second version of NVML's call tells it.

    Parameters
    ----------
    uuid, index
        The device, and its ordinal among those that the server sees.
    total_bytes, reserved_bytes, used_bytes
        ``used`` does not include ``reserved``, which is the driver's; None where the device does not say.
    server_bytes
        What the server's processes hold of ``used``; None where that cannot be told.
    """

    uuid: str
    index: int
    total_bytes: int
    reserved_bytes: int | None
    used_bytes: int
    server_bytes: int | None = None

    @property
    def foreign_bytes(self) -> int | None:
        """What others hold, whether NVML lists them here or not: used, and not the server's."""
        if self.server_bytes is None or self.reserved_bytes is None:
            return None
        # The two figures are read one after the other.
        return max(0, self.used_bytes - self.server_bytes)


class Nvml:
    """The devices that the server sees, in its order.

    Parameters
    ----------
    library
        The ``pynvml`` module, initialised.
    visible_devices
        The server's ``CUDA_VISIBLE_DEVICES``; None sees all.
    """

    def __init__(self, library: Any, visible_devices: str | None) -> None:
        self._library = library
        known = [
            self._uuid(library.nvmlDeviceGetHandleByIndex(i)) for i in range(library.nvmlDeviceGetCount())
        ]
        self.uuids = visible_uuids(visible_devices, tuple(known))

    def memory(self, server: Collection[int] = ()) -> tuple[DeviceMemory, ...]:
        """Return the memory of every device that answers, in the server's order.

        Parameters
        ----------
        server
            The pids of the server's processes, as this process sees them. Where NVML lists none of them on
            any device, it speaks of another PID namespace or of none, and what they hold is not told.
        """
        found: list[tuple[DeviceMemory, dict[int, int | None] | None]] = []
        for index, uuid in enumerate(self.uuids):
            try:
                handle = self._library.nvmlDeviceGetHandleByUUID(uuid)
                memory = self._memory_of(handle, uuid, index)
                held = self._held(handle) if server else None
            except self._library.NVMLError as error:
                log.warning("a device does not tell its memory", extra={"device": uuid, "error": str(error)})
            else:
                found.append((memory, held))
        if not any(held and not held.keys().isdisjoint(server) for _, held in found):
            return tuple(memory for memory, _ in found)
        return tuple(replace(memory, server_bytes=_sum_of(held, server)) for memory, held in found)

    def _held(self, handle: Any) -> dict[int, int | None] | None:
        """Return what each process holds of a device, None where it does not say; None without a list."""
        library = self._library
        # The second is raised where the driver is too old to have the call in the form that pynvml knows.
        refusals = (library.NVMLError, library.NVMLLibraryMismatchError)
        held: dict[int, int | None] = {}
        for ask in ("Compute", "Graphics", "MPSCompute"):  # a client of MPS is in the third list alone
            try:
                listed = getattr(library, f"nvmlDeviceGet{ask}RunningProcesses")(handle)
            except refusals:
                if ask == "Compute":
                    return None
                continue
            for process in listed:
                before = held.get(process.pid, 0)
                used = process.usedGpuMemory
                held[process.pid] = None if used is None or before is None else max(used, before)
        return held

    def _memory_of(self, handle: Any, uuid: str, index: int) -> DeviceMemory:
        library = self._library
        try:
            info = library.nvmlDeviceGetMemoryInfo(handle, version=library.nvmlMemory_v2)
        except library.NVMLError_NotSupported:
            # Version 1 counts the driver's reservation as used.
            info = library.nvmlDeviceGetMemoryInfo(handle)
        return DeviceMemory(
            uuid=uuid,
            index=index,
            total_bytes=info.total,
            reserved_bytes=getattr(info, "reserved", None),
            used_bytes=info.used,
        )

    def _uuid(self, handle: Any) -> str:
        uuid = self._library.nvmlDeviceGetUUID(handle)
        return uuid.decode() if isinstance(uuid, bytes) else str(uuid)


class Devices(Protocol):
    """What tells the memory of the server's devices: NVML, or the server's own metrics."""

    def memory(self, server: Collection[int] = ()) -> tuple[DeviceMemory, ...]:
        """Return the memory of the devices that answer; ``server`` has the pids of the server's processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The devices' memory, and the server's in the host.

    Parameters
    ----------
    devices
        In the server's order; none where nothing tells them.
    server_resident_bytes
        Resident memory of the server's processes; None where the agent does not see them.
    """

    devices: tuple[DeviceMemory, ...] = ()
    server_resident_bytes: int | None = None


class MemoryView:
    """The memory as it is, looked at most once a second between two actions, however many ask for it.

    Parameters
    ----------
    devices
        None where nothing can say; then there are none.
    processes
        Finds the server's; None looks for none.
    seconds
        A clock that only runs forward.
    """

    def __init__(
        self, devices: Devices | None, seconds: Callable[[], float], *, processes: ProcessView | None = None
    ) -> None:
        self._devices = devices
        self._processes = processes
        self._seconds = seconds
        self._actions = 0
        self._known: tuple[float, int, Memory] = (float("-inf"), 0, Memory())

    def expire(self) -> None:
        """Forget what is known: who is told that an action has ended must not see the memory before it."""
        self._actions += 1

    def memory(self) -> Memory:
        """Return the memory as it is."""
        asked_at_s, actions_then, memory = self._known
        now_s, actions = self._seconds(), self._actions
        if now_s - asked_at_s >= _FRESH_S or actions_then != actions:
            memory = self._look()
            self._known = (now_s, actions, memory)
        return memory

    def _look(self) -> Memory:
        server = None if self._processes is None else self._processes.server()
        pids: frozenset[int] = frozenset() if server is None else server.pids
        return Memory(
            devices=() if self._devices is None else self._devices.memory(pids),
            server_resident_bytes=None if server is None else server.resident_bytes,
        )


def open_nvml(visible_devices: str | None) -> Nvml | None:
    """Return NVML's view, or None where there is no NVML or no driver."""
    try:
        # pynvml is optional and costs 17 MiB to import, so it is not imported where it would find no library.
        ctypes.CDLL("libnvidia-ml.so.1")
        import pynvml
    except (OSError, ImportError):
        return None
    try:
        pynvml.nvmlInit()
        return Nvml(pynvml, visible_devices)
    except pynvml.NVMLError as error:
        log.info("no device is seen through NVML", extra={"error": str(error)})
        return None


def visible_uuids(visible_devices: str | None, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the UUIDs that a CUDA process sees, in its order.

    The rules are those of ``CUDA_VISIBLE_DEVICES`` in the CUDA C++ Programming Guide: ordinals, UUIDs or
    their beginnings (MIG instances by their whole UUID); what follows the first entry that names no device is
    not seen. Ordinals are NVML's, which are CUDA's under ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` and on nodes with
    equal GPUs.

    Parameters
    ----------
    visible_devices
        The variable's value; None when it is not set.
    known
        UUIDs of the node's GPUs in NVML's order.
    """
    if visible_devices is None:
        return known
    seen: list[str] = []
    for entry in (part.strip() for part in visible_devices.split(",")):
        uuid = _named(entry, known)
        if uuid is None:
            break
        seen.append(uuid)
    return tuple(seen)


def _sum_of(held: dict[int, int | None] | None, server: Collection[int]) -> int | None:
    """Return what the server's processes hold; None where one of them does not tell."""
    if held is None:
        return None
    shares = [used for pid, used in held.items() if pid in server]
    known = [used for used in shares if used is not None]
    return sum(known) if len(known) == len(shares) else None


def _named(entry: str, known: tuple[str, ...]) -> str | None:
    if entry.isdecimal():
        return known[int(entry)] if int(entry) < len(known) else None
    if entry.startswith("MIG-"):
        return entry
    matches = [uuid for uuid in known if entry and uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None

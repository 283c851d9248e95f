"""What NVML says of the devices that the server sees. The agent's only home of pynvml, which is optional."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

_FRESH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """Memory of one device in bytes, as NVML's second version of the call tells it.

    Parameters
    ----------
    uuid, index
        The device, and its ordinal among those that the server sees.
    total_bytes, reserved_bytes, used_bytes
        ``used`` does not include ``reserved``, which is the driver's; None where the device does not say.
    """

    uuid: str
    index: int
    total_bytes: int
    reserved_bytes: int | None
    used_bytes: int


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

    def memory(self) -> tuple[DeviceMemory, ...]:
        """Return the memory of every device that answers, in the server's order."""
        found = []
        for index, uuid in enumerate(self.uuids):
            try:
                found.append(self._memory_of(uuid, index))
            except self._library.NVMLError as error:
                log.warning("a device does not tell its memory", extra={"device": uuid, "error": str(error)})
        return tuple(found)

    def _memory_of(self, uuid: str, index: int) -> DeviceMemory:
        library = self._library
        handle = library.nvmlDeviceGetHandleByUUID(uuid)
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


class MemoryView:
    """The devices' memory, asked of NVML at most once a second between two actions, however many ask for it.

    Parameters
    ----------
    nvml
        None where nothing can say; then there are no devices.
    seconds
        A clock that only runs forward.
    """

    def __init__(self, nvml: Nvml | None, seconds: Callable[[], float]) -> None:
        self._nvml = nvml
        self._seconds = seconds
        self._actions = 0
        self._known: tuple[float, int, tuple[DeviceMemory, ...]] = (float("-inf"), 0, ())

    def expire(self) -> None:
        """Forget what is known: who is told that an action has ended must not see the memory before it."""
        self._actions += 1

    def devices(self) -> tuple[DeviceMemory, ...]:
        """Return the memory of every device."""
        asked_at_s, actions_then, memory = self._known
        now_s, actions = self._seconds(), self._actions
        if self._nvml is not None and (now_s - asked_at_s >= _FRESH_S or actions_then != actions):
            memory = self._nvml.memory()
            self._known = (now_s, actions, memory)
        return memory


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


def _named(entry: str, known: tuple[str, ...]) -> str | None:
    if entry.isdecimal():
        return known[int(entry)] if int(entry) < len(known) else None
    if entry.startswith("MIG-"):
        return entry
    matches = [uuid for uuid in known if entry and uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None

"""The GPUs of this machine as NVML reports them; the planner's only use of pynvml.

Capacity is ``total - reserved`` of NVML's version 2, and what is ``used`` beside that is foreign: so ask
while no shard of ours runs here, or its own memory is taken for someone else's.
"""

# ruff: noqa: D102, N802, N815 - the names of the port are pynvml's, and documented there

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

from planner.domain.fleet import DeviceClass, Node, NodeDevice
from planner.errors import Fault, InputError, ShardpackError
from planner.inventory.host import Host, read_host

# Return codes of nvml.h (nvmlReturn_t).
_NOT_SUPPORTED = 3
_NOT_FOUND = 6
_DRIVER_NOT_LOADED = 9
_LIBRARY_NOT_FOUND = 12
_GPU_IS_LOST = 15

_MEANINGS = {
    _DRIVER_NOT_LOADED: "the NVIDIA driver is installed but not loaded",
    _LIBRARY_NOT_FOUND: "this machine has no NVIDIA driver (libnvidia-ml.so.1 was not found)",
    _GPU_IS_LOST: "the GPU is lost: it fell off the bus and needs a reset or a reboot",
}

_NOT_FOR_THIS_MACHINE = (_DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND)
"""What is no error inside, but asked of a machine that has no answer."""

HOSTNAME = "kubernetes.io/hostname"
GPU_PRODUCT = "nvidia.com/gpu.product"


class Memory(Protocol):
    """``nvmlMemory_v2_t``: bytes, ``used`` without what is ``reserved``."""

    total: int
    reserved: int
    used: int


class Nvml(Protocol):
    """The part of pynvml that is used; a handle is whatever it says it is."""

    NVMLError: type[Exception]
    nvmlMemory_v2: int

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Any: ...
    def nvmlDeviceGetName(self, handle: Any, /) -> str | bytes: ...
    def nvmlDeviceGetUUID(self, handle: Any, /) -> str | bytes: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any, /, version: int) -> Memory: ...
    def nvmlDeviceGetMigMode(self, handle: Any, /) -> tuple[int, int] | list[int]: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any, /) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: int, /) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What one machine has.

    Parameters
    ----------
    node
        The machine with its devices; a GPU in MIG mode is represented by its instances.
    device_classes
        The classes that its devices are of, sorted by name: the catalogue's where it knows the product.
    driver_version
        NVIDIA's driver.
    without_instances
        UUIDs of GPUs in MIG mode that have no instance: nothing can run there.
    """

    node: Node
    device_classes: tuple[DeviceClass, ...]
    driver_version: str
    without_instances: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One device as NVML shows it; ``parent`` is the UUID of the GPU that a MIG instance is cut from."""

    product: str
    mig_profile: str | None
    uuid: str
    total_bytes: int
    reserved_bytes: int
    used_bytes: int
    parent: str | None


def read_nvml(
    node_name: str,
    *,
    catalogue: Iterable[DeviceClass] = (),
    nvml: Nvml | None = None,
    host: Host | None = None,
) -> Inventory:
    """Return this machine's devices, CPU and memory.

    Parameters
    ----------
    node_name
        What the node is called.
    catalogue
        Device classes to recognise products by (``product`` and ``mig_profile``); an unknown one gets a class
        with the figures that NVML says. Where a device differs from its class, its own figures win.
    nvml
        pynvml or what stands for it; None imports pynvml.
    host
        The machine's CPU and memory; None reads them.

    Raises
    ------
    ModuleNotFoundError
        No pynvml.
    InputError
        No driver, or one that is not loaded: this machine cannot be asked.
    ShardpackError
        A driver or a GPU that does not answer, in plain words.
    """
    library = nvml or _import_pynvml()
    host = host or read_host()
    with _session(library):
        driver = _text(library.nvmlSystemGetDriverVersion())
        seen: list[_Seen] = []
        without: list[str] = []
        for index in range(library.nvmlDeviceGetCount()):
            with _named_faults(library, f"GPU {index}"):
                found, empty = _gpu(library, library.nvmlDeviceGetHandleByIndex(index))
            seen.extend(found)
            without.extend(empty)
    classes, devices = _classify(seen, catalogue, driver=driver)
    node = Node(
        name=node_name,
        cpu_milli=host.cpu_milli,
        memory_bytes=host.memory_bytes,
        devices=devices,
        labels=_labels(node_name, seen),
    )
    return Inventory(
        node=node, device_classes=classes, driver_version=driver, without_instances=tuple(without)
    )


# ----------------------------------------------------------------------------------------------- asking NVML


def _import_pynvml() -> Nvml:
    return cast("Nvml", importlib.import_module("pynvml"))


@contextmanager
def _session(library: Nvml) -> Iterator[None]:
    """Open NVML and close it; whatever it answers in between is an error of ours."""
    with _named_faults(library, "NVML"):
        library.nvmlInit()
        try:
            yield
        finally:
            library.nvmlShutdown()


@contextmanager
def _named_faults(library: Nvml, subject: str) -> Iterator[None]:
    try:
        yield
    except library.NVMLError as error:
        code = _code(error)
        meaning = _MEANINGS.get(code, str(error)) if code is not None else str(error)
        text = f"{subject}: {meaning} (NVML {code})"
        if code in _NOT_FOR_THIS_MACHINE:
            raise InputError([Fault(path="", message=text)]) from error
        raise ShardpackError(text) from error


def _code(error: Exception) -> int | None:
    """Return NVML's return code of one of its errors."""
    value = getattr(error, "value", None)
    return value if isinstance(value, int) else None


def _gpu(library: Nvml, handle: Any) -> tuple[list[_Seen], list[str]]:
    """Return the devices that a GPU offers: itself or its MIG instances; and its UUID if it offers none."""
    product = _product_label(_text(library.nvmlDeviceGetName(handle)))
    if not _mig_is_on(library, handle):
        return [_device(library, handle, product=product)], []
    parent = _text(library.nvmlDeviceGetUUID(handle))
    instances = [
        _device(library, instance, product=product, parent=parent)
        for instance in _mig_handles(library, handle)
    ]
    return instances, [] if instances else [parent]


def _mig_is_on(library: Nvml, handle: Any) -> bool:
    try:
        current, _pending = library.nvmlDeviceGetMigMode(handle)
    except library.NVMLError as error:
        if _code(error) == _NOT_SUPPORTED:  # a GPU from before MIG
            return False
        raise
    return bool(current)


def _mig_handles(library: Nvml, handle: Any) -> Iterator[Any]:
    """Yield the instances of a GPU; their indices may have gaps."""
    for index in range(library.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield library.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except library.NVMLError as error:
            if _code(error) != _NOT_FOUND:
                raise


def _device(library: Nvml, handle: Any, *, product: str, parent: str | None = None) -> _Seen:
    memory = library.nvmlDeviceGetMemoryInfo(handle, version=library.nvmlMemory_v2)
    profile = None if parent is None else _profile(_text(library.nvmlDeviceGetName(handle)))
    return _Seen(
        product=product,
        mig_profile=profile,
        uuid=_text(library.nvmlDeviceGetUUID(handle)),
        total_bytes=memory.total,
        reserved_bytes=memory.reserved,
        used_bytes=memory.used,
        parent=parent,
    )


def _profile(name: str) -> str:
    """Return the profile in a MIG device's name (``NVIDIA A100-SXM4-40GB MIG 1g.5gb``)."""
    found = re.search(r" MIG (\S+)$", name)
    if found is None:
        raise ShardpackError(f"the MIG device {name!r} does not say its profile")
    if re.match(r"\d+c\.", found[1]):
        raise ShardpackError(
            f"the MIG device {name!r} is a part of a GPU instance: memory that is shared cannot be planned"
        )
    return found[1]


def _product_label(name: str) -> str:
    """Return a product as NVIDIA's feature discovery labels it: blanks become dashes."""
    return re.sub(r"\s+", "-", name.strip())


def _text(value: str | bytes) -> str:
    """Return text; older releases of pynvml answer bytes."""
    return value.decode() if isinstance(value, bytes) else value


# ---------------------------------------------------------------------------------------- what it is for us


def _classify(
    seen: Iterable[_Seen], catalogue: Iterable[DeviceClass], *, driver: str
) -> tuple[tuple[DeviceClass, ...], tuple[NodeDevice, ...]]:
    """Return the classes of devices and the devices in their words."""
    known = {(item.product, item.mig_profile): item for item in catalogue if item.kind == "gpu"}
    used: dict[str, DeviceClass] = {}
    devices = []
    for item in seen:
        key = (item.product, item.mig_profile)
        device_class = known.setdefault(key, _new_class(item, driver))
        used[device_class.name] = device_class
        devices.append(_node_device(item, device_class))
    return tuple(used[name] for name in sorted(used)), tuple(devices)


def _new_class(item: _Seen, driver: str) -> DeviceClass:
    return DeviceClass(
        name=_class_name(item),
        kind="gpu",
        memory_bytes=item.total_bytes,
        reserved_bytes=item.reserved_bytes,
        product=item.product,
        mig_profile=item.mig_profile,
        source=f"NVML of a {item.product}, driver {driver}",
    )


def _class_name(item: _Seen) -> str:
    words = [item.product, *((item.mig_profile,) if item.mig_profile else ())]
    name = re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower()).strip("-.")
    return name if name.startswith("nvidia-") else f"nvidia-{name}"


def _node_device(item: _Seen, device_class: DeviceClass) -> NodeDevice:
    total, reserved = item.total_bytes, item.reserved_bytes
    return NodeDevice(
        device_class=device_class.name,
        uuid=item.uuid,
        memory_bytes=None if total == device_class.memory_bytes else total,
        reserved_bytes=None if reserved == device_class.reserved_bytes else reserved,
        foreign_bytes=item.used_bytes,
        parent=item.parent,
    )


def _labels(node_name: str, seen: Iterable[_Seen]) -> tuple[tuple[str, str], ...]:
    """Return the node's labels; its product only where all GPUs are of one, as a label has one value."""
    products = {item.product for item in seen}
    labels = {HOSTNAME: node_name}
    if len(products) == 1:
        labels[GPU_PRODUCT] = products.pop()
    return tuple(sorted(labels.items()))

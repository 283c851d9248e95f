"""What NVML says, as a fleet: with a small NVML of our own."""

# ruff: noqa: N802, N815 - the names of the port are pynvml's

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from planner.domain.fleet import DeviceClass
from planner.errors import ShardpackError
from planner.inventory import inventory_document, read_nvml
from planner.inventory.host import Host, read_host
from tests.support.builders import GIB, MIB

HOST = Host(cpu_milli=8_000, memory_bytes=32 * GIB)
T4 = DeviceClass(
    name="nvidia-t4", kind="gpu", memory_bytes=15_360 * MIB, reserved_bytes=450 * MIB, product="Tesla-T4"
)
NOT_SUPPORTED, NOT_FOUND, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, GPU_IS_LOST = 3, 6, 9, 12, 15


class FakeError(Exception):
    """As pynvml's: the return code is its value."""

    def __init__(self, value: int) -> None:
        super().__init__(f"code {value}")
        self.value = value


@dataclass(kw_only=True)
class Card:
    """A GPU or a MIG instance; ``mig`` None is a GPU from before MIG, and None in it a gap."""

    uuid: str
    name: str = "Tesla T4"
    total: int = 15_360 * MIB
    reserved: int = 450 * MIB
    used: int = 0
    mig: list[Card | None] | None = None
    error: int | None = None
    mig_error: int = NOT_SUPPORTED


@dataclass(kw_only=True)
class FakeNvml:
    """The port that ``read_nvml`` asks for, over cards."""

    cards: list[Card]
    init_error: int | None = None
    as_bytes: bool = False
    open_sessions: int = 0
    versions: set[int] = field(default_factory=set)
    NVMLError: type[Exception] = FakeError
    nvmlMemory_v2: int = 0x02000028

    def _text(self, value: str) -> str | bytes:
        return value.encode() if self.as_bytes else value

    def nvmlInit(self) -> None:
        if self.init_error is not None:
            raise FakeError(self.init_error)
        self.open_sessions += 1

    def nvmlShutdown(self) -> None:
        self.open_sessions -= 1

    def nvmlSystemGetDriverVersion(self) -> str | bytes:
        return self._text("550.54.15")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Card:
        card = self.cards[index]
        if card.error is not None:
            raise FakeError(card.error)
        return card

    def nvmlDeviceGetName(self, handle: Card, /) -> str | bytes:
        return self._text(handle.name)

    def nvmlDeviceGetUUID(self, handle: Card, /) -> str | bytes:
        return self._text(handle.uuid)

    def nvmlDeviceGetMemoryInfo(self, handle: Card, /, version: int) -> Card:
        self.versions.add(version)
        return handle

    def nvmlDeviceGetMigMode(self, handle: Card, /) -> tuple[int, int]:
        if handle.mig is None:
            raise FakeError(handle.mig_error)
        return (1, 1)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Card, /) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Card, index: int, /) -> Card:
        cards = handle.mig or []
        found = cards[index] if index < len(cards) else None
        if found is None:
            raise FakeError(NOT_FOUND)
        if found.error is not None:
            raise FakeError(found.error)
        return found


def read(*cards: Card, **more: Any) -> Any:
    library = FakeNvml(cards=list(cards))
    found = read_nvml("gpu-a-0", nvml=library, host=HOST, **more)
    assert library.open_sessions == 0
    return found


def a_cut_gpu() -> Card:
    name = "NVIDIA A100-SXM4-40GB"
    slices = [
        Card(uuid="MIG-0", name=f"{name} MIG 3g.20gb", total=20 * GIB, reserved=MIB),
        None,
        Card(uuid="MIG-2", name=f"{name} MIG 1g.5gb+me", total=5 * GIB, reserved=MIB, used=GIB),
    ]
    return Card(uuid="GPU-a", name=name, total=40 * GIB, mig=slices)


# -------------------------------------------------------------------------------------------------- devices


def test_a_known_product_is_of_the_catalogues_class():
    found = read(Card(uuid="GPU-0"), Card(uuid="GPU-1", used=512 * MIB), catalogue=[T4])
    assert found.device_classes == (T4,)
    assert [device.uuid for device in found.node.devices] == ["GPU-0", "GPU-1"]
    assert [device.foreign_bytes for device in found.node.devices] == [0, 512 * MIB]
    assert {device.device_class for device in found.node.devices} == {"nvidia-t4"}
    assert {(device.memory_bytes, device.reserved_bytes) for device in found.node.devices} == {(None, None)}


def test_a_device_that_differs_from_its_class_keeps_its_own_figures():
    (device,) = read(Card(uuid="GPU-0", total=15_000 * MIB, reserved=MIB), catalogue=[T4]).node.devices
    assert (device.memory_bytes, device.reserved_bytes) == (15_000 * MIB, MIB)


def test_an_unknown_product_becomes_a_class_with_these_figures_and_their_source():
    found = read(Card(uuid="GPU-0", name="NVIDIA H100 80GB HBM3", total=81_559 * MIB))
    (item,) = found.device_classes
    assert item == DeviceClass(
        name="nvidia-h100-80gb-hbm3",
        kind="gpu",
        memory_bytes=81_559 * MIB,
        reserved_bytes=450 * MIB,
        product="NVIDIA-H100-80GB-HBM3",
        source="NVML of a NVIDIA-H100-80GB-HBM3, driver 550.54.15",
    )


def test_equal_products_share_the_class_of_the_first():
    found = read(Card(uuid="GPU-0"), Card(uuid="GPU-1", total=GIB))
    assert [item.name for item in found.device_classes] == ["nvidia-tesla-t4"]
    assert [device.memory_bytes for device in found.node.devices] == [None, GIB]


def test_memory_is_asked_for_in_version_2():
    library = FakeNvml(cards=[Card(uuid="GPU-0")])
    read_nvml("n", nvml=library, host=HOST)
    assert library.versions == {library.nvmlMemory_v2}


def test_older_pynvml_answers_bytes():
    library = FakeNvml(cards=[Card(uuid="GPU-0"), a_cut_gpu()], as_bytes=True)
    found = read_nvml("n", nvml=library, host=HOST, catalogue=[T4])
    assert [device.uuid for device in found.node.devices] == ["GPU-0", "MIG-0", "MIG-2"]


def test_mig_instances_stand_for_their_gpu():
    found = read(a_cut_gpu())
    assert [device.uuid for device in found.node.devices] == ["MIG-0", "MIG-2"]
    assert {device.parent for device in found.node.devices} == {"GPU-a"}
    classes = {item.name: item for item in found.device_classes}
    assert sorted(classes) == [
        "nvidia-a100-sxm4-40gb-1g.5gb-me",
        "nvidia-a100-sxm4-40gb-3g.20gb",
    ]
    small = classes["nvidia-a100-sxm4-40gb-1g.5gb-me"]
    assert (small.mig_profile, small.memory_bytes) == ("1g.5gb+me", 5 * GIB)
    assert small.product == "NVIDIA-A100-SXM4-40GB"


def test_a_slice_is_matched_by_product_and_profile():
    other = DeviceClass(
        name="other", kind="gpu", memory_bytes=1, product="NVIDIA-H200", mig_profile="3g.20gb"
    )
    mine = DeviceClass(
        name="mine", kind="gpu", memory_bytes=1, product="NVIDIA-A100-SXM4-40GB", mig_profile="3g.20gb"
    )
    found = read(a_cut_gpu(), catalogue=[other, mine])
    assert found.node.devices[0].device_class == "mine"
    assert "other" not in {item.name for item in found.device_classes}


def test_a_gpu_in_mig_mode_without_instances_offers_nothing_and_is_named():
    found = read(Card(uuid="GPU-0"), Card(uuid="GPU-1", mig=[]))
    assert [device.uuid for device in found.node.devices] == ["GPU-0"]
    assert found.without_instances == ("GPU-1",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Graphics Device", "'Graphics Device' does not say its profile"),
        ("NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", "is a part of a GPU instance"),
    ],
)
def test_a_slice_that_cannot_be_planned_is_an_error(name, message):
    with pytest.raises(ShardpackError, match=message):
        read(Card(uuid="GPU-0", mig=[Card(uuid="MIG-0", name=name)]))


def test_a_driver_without_gpus_is_a_node_without_devices():
    found = read()
    assert (found.node.devices, found.device_classes) == ((), ())
    assert found.node.labels == (("kubernetes.io/hostname", "gpu-a-0"),)


# ----------------------------------------------------------------------------------------------------- node


def test_node_has_the_hosts_cpu_and_memory():
    node = read(Card(uuid="GPU-0")).node
    assert (node.name, node.cpu_milli, node.memory_bytes) == ("gpu-a-0", 8_000, 32 * GIB)


def test_product_label_stands_only_where_it_is_one():
    alike = dict(read(Card(uuid="GPU-0"), Card(uuid="GPU-1")).node.labels)
    mixed = dict(read(Card(uuid="GPU-0"), Card(uuid="GPU-1", name="NVIDIA L4")).node.labels)
    assert alike["nvidia.com/gpu.product"] == "Tesla-T4"
    assert "nvidia.com/gpu.product" not in mixed


def test_this_hosts_cpu_and_memory():
    host = read_host()
    assert host.cpu_milli >= 1000
    assert host.cpu_milli % 1000 == 0
    assert host.memory_bytes > 100 * MIB


@pytest.mark.parametrize("text", ["", "MemTotal: many kB\n", "MemFree: 12 kB\n"])
def test_a_host_that_does_not_say_its_memory(tmp_path, text):
    path = tmp_path / "meminfo"
    path.write_text(text)
    with pytest.raises(ShardpackError, match="MemTotal"):
        read_host(path)


def test_memory_is_in_kib(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemFree:  1 kB\nMemTotal:       2048 kB\n")
    assert read_host(path).memory_bytes == 2 * MIB


def test_a_host_that_is_no_linux():
    with pytest.raises(ShardpackError, match="cannot be read"):
        read_host(Path("/nonexistent/meminfo"))


# --------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("code", "message", "exit_code"),
    [
        (LIBRARY_NOT_FOUND, "has no NVIDIA driver", 2),
        (DRIVER_NOT_LOADED, "installed but not loaded", 2),
        (999, "code 999", 1),
    ],
)
def test_nvml_that_does_not_start(code, message, exit_code):
    library = FakeNvml(cards=[], init_error=code)
    with pytest.raises(ShardpackError, match=message) as caught:
        read_nvml("n", nvml=library, host=HOST)
    assert caught.value.exit_code == exit_code
    assert isinstance(caught.value.__cause__, FakeError)
    assert library.open_sessions == 0


def test_a_lost_gpu_is_named_and_nvml_closed():
    library = FakeNvml(cards=[Card(uuid="GPU-0"), Card(uuid="GPU-1", error=GPU_IS_LOST)])
    with pytest.raises(ShardpackError, match="GPU 1: the GPU is lost"):
        read_nvml("n", nvml=library, host=HOST)
    assert library.open_sessions == 0


@pytest.mark.parametrize(
    "card",
    [
        Card(uuid="GPU-0", mig_error=GPU_IS_LOST),
        Card(uuid="GPU-0", mig=[Card(uuid="MIG-0", error=GPU_IS_LOST)]),
    ],
)
def test_a_gpu_that_is_lost_while_it_is_asked_for_its_slices(card):
    with pytest.raises(ShardpackError, match="GPU 0: the GPU is lost"):
        read(card)


def test_pynvml_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(ModuleNotFoundError, match="pynvml"):
        read_nvml("n", host=HOST)


# ------------------------------------------------------------------------------------------------- document


def test_document_says_classes_nodes_and_slices_under_their_gpu():
    found = read(Card(uuid="GPU-0", total=15_000 * MIB, used=GIB), a_cut_gpu(), catalogue=[T4])
    document = inventory_document(found)
    assert (document["apiVersion"], document["kind"]) == ("shardpack.dev/v1alpha1", "Scenario")
    (node,) = document["spec"]["nodes"]
    assert node["allocatable"] == {"cpu": "8", "memory": "32Gi"}
    assert node["devices"] == [
        {"class": "nvidia-t4", "uuid": "GPU-0", "memory": "15000Mi", "foreign": "1Gi"},
        {
            "uuid": "GPU-a",
            "mig": [
                {"class": "nvidia-a100-sxm4-40gb-3g.20gb", "uuid": "MIG-0"},
                {"class": "nvidia-a100-sxm4-40gb-1g.5gb-me", "uuid": "MIG-2", "foreign": "1Gi"},
            ],
        },
    ]
    named = [item["name"] for item in document["spec"]["catalog"]["deviceClasses"]]
    assert named == [item.name for item in found.device_classes]

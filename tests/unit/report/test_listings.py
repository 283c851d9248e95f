"""Tables of devices and of Kubernetes objects."""

from __future__ import annotations

import pytest

from planner.domain.fleet import DeviceClass, Node, NodeDevice
from planner.inventory import Inventory
from planner.report.listings import device_names, devices_table, object_name, objects_table
from tests.support.builders import GIB


def an_inventory() -> Inventory:
    """A node with an A100 cut into two slices, and a T4 that says no UUID and differs from its class."""
    slice_class = DeviceClass(
        name="slice",
        kind="gpu",
        memory_bytes=10 * GIB,
        reserved_bytes=GIB,
        product="NVIDIA-A100",
        mig_profile="1g.10gb",
    )
    whole = DeviceClass(name="t4", kind="gpu", memory_bytes=15 * GIB, product="Tesla-T4")
    devices = (
        NodeDevice(device_class="slice", uuid="MIG-1", parent="GPU-1"),
        NodeDevice(device_class="slice", uuid="MIG-2", parent="GPU-1", foreign_bytes=2 * GIB),
        NodeDevice(device_class="t4", memory_bytes=14 * GIB, reserved_bytes=GIB),
    )
    return Inventory(
        node=Node(name="box", cpu_milli=1_000, memory_bytes=GIB, devices=devices),
        device_classes=(slice_class, whole),
        driver_version="570.1",
        without_instances=(),
    )


def test_wide_devices_say_what_they_are_cut_from_and_what_is_free() -> None:
    rows = [line.split() for line in devices_table(an_inventory(), wide=True).splitlines()]
    a100 = ["NVIDIA-A100", "1g.10gb", "GPU-1", "box", "570.1"]
    assert rows[1] == ["0", "MIG-1", "slice", "10Gi", "1Gi", "0", "9Gi", *a100]
    assert rows[2] == ["1", "MIG-2", "slice", "10Gi", "1Gi", "2Gi", "7Gi", *a100]
    assert rows[3] == ["2", "-", "t4", "14Gi", "1Gi", "0", "13Gi", "Tesla-T4", "-", "-", "box", "570.1"]
    narrow = [line.split() for line in devices_table(an_inventory()).splitlines()]
    assert [row[:6] for row in rows] == narrow


def test_devices_are_named_by_uuid_or_by_their_place() -> None:
    assert device_names(an_inventory()) == ["device/MIG-1", "device/MIG-2", "device/box/2"]


@pytest.mark.parametrize(
    ("version", "kind", "name"),
    [
        ("v1", "ConfigMap", "configmap/x"),
        ("serving.kserve.io/v1alpha1", "TrainedModel", "trainedmodel.serving.kserve.io/x"),
    ],
)
def test_objects_are_named_as_kubectl_does(version: str, kind: str, name: str) -> None:
    assert object_name({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}}) == name


def test_the_size_of_an_object_is_counted_in_bytes() -> None:
    item = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "namespace": "n"},
        "data": {"a": "é"},
    }
    row = objects_table([("x.yaml", item)], wide=True).splitlines()[1].split()
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"n"},"data":{"a":"é"}}'
    assert row == ["ConfigMap", "x", "x.yaml", "v1", "n", str(len(text.encode()))]

"""An inventory written out and read back by the scenario's own reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from planner.domain.fleet import DeviceClass, Node, NodeDevice
from planner.domain.scenario import Scenario
from planner.inventory import Inventory, inventory_document
from planner.scenario.load import load_scenario
from tests.support.builders import GIB, MIB

WHOLE = DeviceClass(
    name="nvidia-tesla-t4",
    kind="gpu",
    memory_bytes=15_360 * MIB,
    reserved_bytes=450 * MIB,
    product="Tesla-T4",
    source="NVML",
)
SLICE = DeviceClass(
    name="nvidia-a100-1g.5gb",
    kind="gpu",
    memory_bytes=4_864 * MIB,
    reserved_bytes=MIB,
    product="NVIDIA-A100-SXM4-40GB",
    mig_profile="1g.5gb",
    source="NVML",
)
NODE = Node(
    name="gpu-a-0",
    cpu_milli=8_000,
    memory_bytes=32 * GIB + 1024,
    devices=(
        NodeDevice(device_class=WHOLE.name, uuid="GPU-0", memory_bytes=15_000 * MIB + 1, foreign_bytes=MIB),
        NodeDevice(device_class=SLICE.name, uuid="MIG-0", parent="GPU-1"),
        NodeDevice(device_class=SLICE.name, uuid="MIG-1", reserved_bytes=2 * MIB, parent="GPU-1"),
        NodeDevice(device_class=WHOLE.name, uuid="GPU-2"),
    ),
    labels=(("kubernetes.io/hostname", "gpu-a-0"),),
)


def read_back(
    folder: Path, inventory: Inventory, *, classes: tuple[str, ...] = (WHOLE.name, SLICE.name)
) -> Scenario:
    (folder / "fleet.yaml").write_text(yaml.safe_dump(inventory_document(inventory)))
    shard_types = [
        {
            "name": name,
            "runtime": "triton",
            "devices": {"class": name},
            "resources": {"cpu": 1, "memory": "8Gi"},
        }
        for name in classes
    ]
    model = {
        "name": "m",
        "backend": "onnxruntime",
        "storageUri": "s3://models/m",
        "footprints": [{"class": "*", "gpuMemory": "1Gi"}],
    }
    document = {
        "apiVersion": "shardpack.dev/v1alpha1",
        "kind": "Scenario",
        "metadata": {"name": "test"},
        "spec": {"include": ["fleet.yaml"], "shardTypes": shard_types, "models": [model]},
    }
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_scenario(path)


def test_a_scenario_that_includes_an_inventory_has_its_node_and_classes(tmp_path):
    inventory = Inventory(
        node=NODE, device_classes=(SLICE, WHOLE), driver_version="550", without_instances=()
    )
    scenario = read_back(tmp_path, inventory)
    assert scenario.nodes == (NODE,)
    assert [item for item in scenario.device_classes if item.kind == "gpu"] == [SLICE, WHOLE]


def test_instances_of_a_product_without_a_mig_table_are_taken_as_they_are(tmp_path):
    rare = replace(SLICE, name="nvidia-gh200-1g.12gb", product="NVIDIA-GH200-480GB", mig_profile="1g.12gb")
    cut = tuple(NodeDevice(device_class=rare.name, uuid=f"MIG-{n}", parent="GPU-1") for n in range(7))
    inventory = Inventory(
        node=replace(NODE, devices=(NodeDevice(device_class=WHOLE.name, uuid="GPU-0"), *cut)),
        device_classes=(rare, WHOLE),
        driver_version="550",
        without_instances=(),
    )
    assert read_back(tmp_path, inventory, classes=(WHOLE.name, rare.name)).nodes == (inventory.node,)


def test_a_machine_without_gpus_is_a_node_all_the_same(tmp_path):
    bare = replace(NODE, devices=())
    inventory = Inventory(node=bare, device_classes=(), driver_version="550", without_instances=())
    (node,) = inventory_document(inventory)["spec"]["nodes"]
    assert node["devices"] == []

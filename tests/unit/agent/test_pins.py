from __future__ import annotations

import pytest

from agent.desired import DesiredDevice
from agent.errors import PinError
from agent.memory import visible_uuids
from agent.pins import Pin, pin_of, planned_bytes, targets
from tests.support.agent_models import CPU, desired, on_gpu, target, wanted

GPUS = ("GPU-aaa1", "GPU-aaa2", "GPU-bbb")


def test_instance_groups() -> None:
    assert pin_of(wanted(devices=()), visible=None) == Pin(instance_group=None, devices=("unpinned",))
    assert pin_of(wanted(devices=CPU, instances=2), visible=None) == Pin(
        instance_group="instance_group [ { kind: KIND_CPU count: 2 } ]", devices=("cpu",), instances=2
    )
    assert pin_of(wanted(devices=on_gpu(2, 0)), visible=None) == Pin(
        instance_group="instance_group [ { kind: KIND_GPU count: 1 gpus: [ 0, 2 ] } ]",
        devices=("gpu:0", "gpu:2"),
    )


def test_a_uuid_becomes_the_server_s_ordinal_and_wins() -> None:
    model = wanted(devices=(DesiredDevice(kind="gpu", index=0, uuid="GPU-bbb"),))
    assert pin_of(model, visible=GPUS).devices == ("gpu:2",)
    assert pin_of(model, visible=None).devices == ("gpu:0",)


@pytest.mark.parametrize(
    "device", [DesiredDevice(kind="gpu", uuid="GPU-ccc"), DesiredDevice(kind="gpu", index=3)]
)
def test_a_device_that_is_not_seen_is_a_fault_of_that_model_alone(device: DesiredDevice) -> None:
    found = targets(desired(wanted("bad", devices=(device,)), wanted("good")), visible=GPUS)
    assert isinstance(found["bad"].fault, PinError)
    assert found["bad"].fault.reason == "DeviceNotVisible"
    assert found["good"].fault is None


@pytest.mark.parametrize(
    ("variable", "seen"),
    [
        (None, GPUS),
        ("", ()),
        ("2,0", ("GPU-bbb", "GPU-aaa1")),
        ("GPU-b", ("GPU-bbb",)),
        ("GPU-aaa", ()),  # two begin so
        ("1,9,0", ("GPU-aaa2",)),  # CUDA stops at the first that it does not know
        ("MIG-5c2c-1", ("MIG-5c2c-1",)),
    ],
)
def test_visible_devices(variable: str | None, seen: tuple[str, ...]) -> None:
    assert visible_uuids(variable, GPUS) == seen


def test_planned_bytes_count_every_model_of_the_device() -> None:
    models = {
        "a": target("a", devices=on_gpu(0), steady_bytes=5),
        "b": target("b", devices=on_gpu(0, 1), steady_bytes=7),
        "c": target("c", steady_bytes=100),
    }
    assert planned_bytes(models, device="gpu:0") == 12
    assert planned_bytes(models, device="gpu:1") == 7

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.accounts import DeviceAccount, account
from agent.desired import FixedCost
from agent.memory import DeviceMemory
from agent.observed import Seen
from tests.support.agent_models import copy, on_gpu, row, target

DEVICE = DeviceMemory(
    uuid="GPU-b", index=1, total_bytes=1000, reserved_bytes=10, used_bytes=600, server_bytes=450
)
ON_DEVICE = target("here", devices=on_gpu(1), steady_bytes=200)
TARGETS = {
    "here": ON_DEVICE,
    "waits": target("waits", devices=on_gpu(1), steady_bytes=30),
    "elsewhere": target("elsewhere", devices=on_gpu(0), steady_bytes=70),
}
MODELS = {
    "here": Seen(installed=copy(loaded_on=ON_DEVICE), row=row("READY")),
    "waits": Seen(installed=copy()),
    "elsewhere": Seen(installed=copy(loaded_on=TARGETS["elsewhere"]), row=row("READY")),
}
FIXED = (FixedCost(index=0, fixed_bytes=1), FixedCost(index=1, fixed_bytes=100))


def of(memory: DeviceMemory = DEVICE, fixed: tuple[FixedCost, ...] = FIXED) -> DeviceAccount:
    return account(memory, targets=TARGETS, models=MODELS, fixed=fixed)


def test_every_used_byte_is_somebodys() -> None:
    found = of()
    assert (found.planned_bytes, found.loaded_bytes, found.fixed_bytes) == (230, 200, 100)
    assert found.memory.foreign_bytes == 150
    assert found.unattributed_bytes == found.residual_bytes == 600 - 150 - 100 - 200


def test_where_others_cannot_be_told_apart_what_is_left_may_be_theirs() -> None:
    found = of(replace(DEVICE, server_bytes=None))
    assert (found.unattributed_bytes, found.residual_bytes) == (300, None)


def test_a_plan_that_is_generous_leaves_no_residual() -> None:
    found = of(replace(DEVICE, used_bytes=400, server_bytes=250))
    assert (found.unattributed_bytes, found.residual_bytes) == (-50, 0)


@pytest.mark.parametrize(
    ("fixed", "expected"),
    [
        ((), None),
        ((FixedCost(index=7, uuid="GPU-b", fixed_bytes=5),), 5),
        ((FixedCost(index=1, uuid="GPU-z", fixed_bytes=5),), None),
    ],
)
def test_fixed_costs_are_found_by_uuid_before_ordinal(
    fixed: tuple[FixedCost, ...], expected: int | None
) -> None:
    found = of(fixed=fixed)
    assert found.fixed_bytes == expected
    assert (found.residual_bytes is None) is (expected is None)


def test_a_model_that_may_be_on_either_device_leaves_nothing_to_be_told_of_both() -> None:
    lost = replace(copy(), loaded_pin=None, loaded_devices=("gpu:0", "gpu:1"))
    models = {"here": Seen(installed=lost, row=row("READY"))}
    for device in (DEVICE, replace(DEVICE, index=0)):
        found = account(device, targets=TARGETS, models=models, fixed=FIXED)
        assert (found.loaded_bytes, found.unattributed_bytes, found.residual_bytes) == (None, None, None)
    gone = {"here": replace(models["here"], row=row("UNAVAILABLE"))}
    assert account(DEVICE, targets=TARGETS, models=gone, fixed=FIXED).loaded_bytes == 0


def test_a_model_that_leaves_counts_with_what_it_was_seen_to_take() -> None:
    leaving = Seen(installed=replace(copy(loaded_on=ON_DEVICE), measured_bytes=90), row=row("UNLOADING"))
    found = account(DEVICE, targets={}, models={"here": leaving}, fixed=FIXED)
    assert (found.planned_bytes, found.loaded_bytes) == (0, 90)

from __future__ import annotations

from agent.memory import DeviceMemory, MemoryView


class Counting:
    """Stands for NVML: tells how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def memory(self) -> tuple[DeviceMemory, ...]:
        self.asked += 1
        return (DeviceMemory(uuid="GPU-0", index=0, total_bytes=9, reserved_bytes=0, used_bytes=self.asked),)


def used(view: MemoryView) -> int:
    (device,) = view.devices()
    return device.used_bytes


def test_many_who_ask_cost_one_look_a_second() -> None:
    now_s = 0.0
    nvml = Counting()
    view = MemoryView(nvml, lambda: now_s)  # type: ignore[arg-type]  # all that the view asks of it
    assert [used(view) for _ in range(5)] == [1] * 5
    now_s = 1.0
    assert [used(view) for _ in range(5)] == [2] * 5


def test_the_memory_that_is_told_after_an_action_is_from_after_it() -> None:
    view = MemoryView(Counting(), lambda: 0.0)  # type: ignore[arg-type]
    assert used(view) == 1
    view.expire()
    assert [used(view), used(view)] == [2, 2]


def test_without_nvml_there_are_no_devices() -> None:
    assert MemoryView(None, lambda: 0.0).devices() == ()

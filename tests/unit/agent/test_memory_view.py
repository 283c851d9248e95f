from __future__ import annotations

from collections.abc import Collection

from agent.memory import DeviceMemory, Memory, MemoryView
from agent.processes import ServerProcesses


class Counting:
    """Stands for NVML: tells how often it was asked, and of whom."""

    def __init__(self) -> None:
        self.asked = 0
        self.of: Collection[int] = ()

    def memory(self, server: Collection[int]) -> tuple[DeviceMemory, ...]:
        self.asked += 1
        self.of = server
        return (DeviceMemory(uuid="GPU-0", index=0, total_bytes=9, reserved_bytes=0, used_bytes=self.asked),)


class Processes:
    """Stands for the kernel's view."""

    def server(self) -> ServerProcesses:
        return ServerProcesses(pids=frozenset((7, 8)), resident_bytes=5)


def used(view: MemoryView) -> int:
    (device,) = view.memory().devices
    return device.used_bytes


def test_many_who_ask_cost_one_look_a_second() -> None:
    now_s = 0.0
    view = MemoryView(Counting(), lambda: now_s)  # type: ignore[arg-type]  # all that the view asks of it
    assert [used(view) for _ in range(5)] == [1] * 5
    now_s = 1.0
    assert [used(view) for _ in range(5)] == [2] * 5


def test_the_memory_that_is_told_after_an_action_is_from_after_it() -> None:
    view = MemoryView(Counting(), lambda: 0.0)  # type: ignore[arg-type]
    assert used(view) == 1
    view.expire()
    assert [used(view), used(view)] == [2, 2]


def test_without_nvml_there_are_no_devices() -> None:
    assert MemoryView(None, lambda: 0.0).memory() == Memory()


def test_nvml_is_asked_about_the_servers_processes_and_the_kernel_about_their_memory() -> None:
    nvml = Counting()
    view = MemoryView(nvml, lambda: 0.0, processes=Processes())  # type: ignore[arg-type]
    assert view.memory().server_resident_bytes == 5
    assert nvml.of == {7, 8}

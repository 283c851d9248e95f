"""Whose a device's memory is, by what NVML lists: it may hide processes, or what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from agent.memory import Nvml

MIB = 1 << 20


class NvmlError(Exception):
    """Stands for the root of pynvml's errors."""


class NotSupportedError(NvmlError):
    """Stands for what old drivers answer."""


class MismatchError(Exception):
    """Stands for what pynvml says of a call that the driver does not have."""


@dataclass
class Library:
    """Stands for pynvml with one device.

    ``lists`` are (pid, bytes) by the kind of processes; a kind that is not there is refused.
    """

    lists: dict[str, list[tuple[int, int | None]]]
    used: int = 100 * MIB
    second_version: bool = True
    nvmlMemory_v2: int = 2  # noqa: N815  # pynvml's names
    NVMLError: type[Exception] = NvmlError
    NVMLError_NotSupported: type[Exception] = NotSupportedError
    NVMLLibraryMismatchError: type[Exception] = MismatchError
    refusal: type[Exception] = NvmlError
    count: int = 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        return int(uuid.removeprefix("GPU-"))

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return f"GPU-{handle}"

    def nvmlDeviceGetMemoryInfo(self, _handle: int, version: int | None = None) -> Any:  # noqa: N802
        if version is None:
            return SimpleNamespace(total=1000 * MIB, used=self.used)
        if not self.second_version:
            raise NotSupportedError
        return SimpleNamespace(total=1000 * MIB, reserved=0, used=self.used)

    def _listed(self, kind: str) -> list[Any]:
        if kind not in self.lists:
            raise self.refusal(kind)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.lists[kind]]

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: int) -> list[Any]:  # noqa: N802
        return self._listed("compute")

    def nvmlDeviceGetGraphicsRunningProcesses(self, _handle: int) -> list[Any]:  # noqa: N802
        return self._listed("graphics")

    def nvmlDeviceGetMPSComputeRunningProcesses(self, _handle: int) -> list[Any]:  # noqa: N802
        return self._listed("mps")


def foreign(library: Library, *server: int) -> int | None:
    (device,) = Nvml(library, None).memory(server)
    assert device.used_bytes == library.used
    return device.foreign_bytes


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({"compute": [(1, 60 * MIB), (2, 10 * MIB), (9, 30 * MIB)]}, 30 * MIB),
        ({"compute": [(1, 60 * MIB), (2, 10 * MIB)]}, 30 * MIB),  # the third process is hidden
        ({"compute": [(1, 60 * MIB)], "graphics": [(1, 70 * MIB)]}, 30 * MIB),  # listed twice, counted once
        ({"compute": [(9, 30 * MIB)], "mps": [(1, 70 * MIB)]}, 30 * MIB),
        ({"compute": [(1, 101 * MIB)]}, 0),  # read after it has grown
        ({"compute": [(1, None), (9, 30 * MIB)]}, None),  # not available
        ({"compute": [(1, 70 * MIB), (9, None)]}, 30 * MIB),  # of another one it does not matter
        ({"compute": []}, None),  # another PID namespace
        ({"compute": [(9, 30 * MIB)]}, None),
        ({}, None),  # no list at all
    ],
)
def test_foreign_memory(lists: dict[str, list[tuple[int, int | None]]], expected: int | None) -> None:
    assert foreign(Library(lists), 1, 2) == expected


def test_an_old_driver_that_lists_only_some_kinds_is_enough() -> None:
    assert foreign(Library({"compute": [(1, 60 * MIB)]}, refusal=MismatchError), 1) == 40 * MIB
    assert foreign(Library({}, refusal=MismatchError), 1) is None


def test_where_the_server_is_not_seen_nothing_is_told() -> None:
    assert foreign(Library({"compute": [(1, 60 * MIB)]})) is None


def test_where_the_reservation_counts_as_used_it_is_not_taken_for_somebodys() -> None:
    assert foreign(Library({"compute": [(1, 60 * MIB)]}, second_version=False), 1) is None


def test_a_server_that_is_listed_on_one_device_holds_nothing_of_the_others() -> None:
    class Two(Library):
        def _listed(self, kind: str) -> list[Any]:
            self.asked = not getattr(self, "asked", False)
            return super()._listed(kind) if self.asked else []

    library = Two({"compute": [(1, 60 * MIB)]}, count=2)
    assert [device.foreign_bytes for device in Nvml(library, None).memory((1,))] == [40 * MIB, 100 * MIB]

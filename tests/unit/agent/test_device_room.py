"""Loads are refused where they cannot fit, and weighed where that can be told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.actions import Load
from agent.device_room import DeviceRoom
from agent.errors import NoRoomError
from agent.memory import DeviceMemory
from tests.support.agent_models import on_gpu, target

MIB = 1 << 20


class Devices:
    """Two devices of 100 MiB, of which 4 are the driver's."""

    def __init__(self) -> None:
        self.used = [10 * MIB, 20 * MIB]

    def __call__(self) -> tuple[DeviceMemory, ...]:
        return tuple(
            DeviceMemory(
                uuid=f"GPU-{index}",
                index=index,
                total_bytes=100 * MIB,
                reserved_bytes=4 * MIB,
                used_bytes=used,
            )
            for index, used in enumerate(self.used)
        )


def load(*ordinals: int, mib: int, name: str = "m") -> Load:
    wanted = target(name, devices=on_gpu(*ordinals)) if ordinals else target(name)
    assert wanted.pin is not None
    return Load(name=name, pin=wanted.pin, framework="sim", urgency=(0, 0), peak_bytes=mib * MIB)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (load(0, mib=86), True),
        (load(0, mib=87), False),
        (load(1, mib=76), True),
        (load(0, 1, mib=77), False),
        (load(0, 1, mib=76), True),
        (load(7, mib=1000), True),  # nothing is known of that device
        (load(mib=1000), True),  # on the CPU
    ],
)
def test_what_the_devices_have_free_decides(wanted: Load, *, fits: bool) -> None:
    room = DeviceRoom(Devices())
    if fits:
        with room.held(wanted):
            pass
    else:
        with pytest.raises(NoRoomError, match=r"MiB free; the load may take"), room.held(wanted):
            pass


def test_loads_under_way_keep_their_room_and_give_it_back() -> None:
    room = DeviceRoom(Devices())
    with room.held(load(0, mib=50, name="first")):
        with pytest.raises(NoRoomError, match="50 MiB of them promised"), room.held(load(0, mib=40)):
            pass
        with room.held(load(1, mib=40)):
            pass
    with room.held(load(0, mib=40)):
        pass


def test_a_load_that_fails_gives_its_room_back() -> None:
    room = DeviceRoom(Devices())
    with pytest.raises(OSError, match="broken"), room.held(load(0, mib=86)):
        raise OSError("broken")
    with room.held(load(0, mib=86)):
        pass


def test_a_load_alone_on_its_devices_is_weighed() -> None:
    devices = Devices()
    room = DeviceRoom(devices)
    with room.held(load(0, 1, mib=30)) as weighing:
        devices.used = [15 * MIB, 45 * MIB]
        assert room.taken(weighing) == 25 * MIB


def more_instances(*, kept: int | None, peak: int = 80) -> Load:
    return replace(load(0, mib=peak), kept=("gpu:0",), kept_bytes=None if kept is None else kept * MIB)


def test_what_a_model_holds_already_is_not_asked_for_again() -> None:
    devices = Devices()
    devices.used[0] = 46 * MIB  # 50 are free
    room = DeviceRoom(devices)
    with room.held(more_instances(kept=40)) as weighing:
        with pytest.raises(NoRoomError, match="40 MiB of them promised"), room.held(load(0, mib=11)):
            pass
        devices.used[0] = 86 * MIB
        assert room.taken(weighing) == 80 * MIB
    with pytest.raises(NoRoomError, match="the load may take 51 MiB"), room.held(more_instances(kept=29)):
        pass


@pytest.mark.parametrize(("kept", "grown", "measured"), [(40, 40, 80), (80, -40, 40), (40, 0, 40)])
def test_a_model_that_is_changed_in_place_is_weighed_whole(kept: int, grown: int, measured: int) -> None:
    devices = Devices()
    devices.used[0] = 5 * MIB + kept * MIB
    room = DeviceRoom(devices)
    with room.held(more_instances(kept=kept, peak=80)) as weighing:
        devices.used[0] += grown * MIB
        assert room.taken(weighing) == measured * MIB


def test_a_new_copy_beside_the_old_one_needs_all_its_room_and_is_not_weighed() -> None:
    devices = Devices()
    room = DeviceRoom(devices)
    with room.held(replace(load(0, mib=50), update=True)) as weighing:
        devices.used[0] += 40 * MIB
        assert room.taken(weighing) is None
    with pytest.raises(NoRoomError), room.held(replace(load(0, mib=50), update=True)):
        pass


def test_a_change_of_what_nobody_has_weighed_needs_all_its_room_and_is_not_weighed() -> None:
    devices = Devices()
    room = DeviceRoom(devices)
    with (
        pytest.raises(NoRoomError, match="the load may take 87 MiB"),
        room.held(more_instances(kept=None, peak=87)),
    ):
        pass
    with room.held(more_instances(kept=None, peak=40)) as weighing:
        devices.used[0] += 20 * MIB
        assert room.taken(weighing) is None


def test_what_cannot_be_told_is_not_told() -> None:
    devices = Devices()
    room = DeviceRoom(devices)
    with room.held(load(0, mib=30, name="first")) as first, room.held(load(0, mib=30)) as second:
        devices.used = [70 * MIB, 20 * MIB]
        assert room.taken(first) is room.taken(second) is None
    with room.held(load(0, mib=10)) as again:
        assert room.taken(again) is None
    with DeviceRoom().held(load(0, mib=10)) as unseen:
        assert DeviceRoom().taken(unseen) is None

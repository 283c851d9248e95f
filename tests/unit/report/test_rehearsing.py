"""What a rehearsal saw, as text and as names."""

from __future__ import annotations

from dataclasses import replace

from planner.report.rehearsal import (
    Absence,
    Rehearsal,
    RehearsedChange,
    RehearsedDevice,
    RehearsedModel,
    RehearsedShard,
)
from planner.report.rehearsing import rehearsal_names, rehearsal_text

GIB = 2**30
GOOD = RehearsedModel(model="a", shard="s", endpoint="http://x", state="Loaded", correct=True)
BAD = RehearsedModel(
    model="b", shard="s", endpoint=None, state="FailedToLoad", correct=None, reason="NoRoom", message="full"
)
DEVICE = RehearsedDevice(
    device="s/0",
    planned_bytes=3 * GIB,
    measured_bytes=3 * GIB,
    planned_peak_bytes=4 * GIB,
    peak_bytes=4 * GIB,
)
SHARD = RehearsedShard(shard="s", shard_type="t4", models=(GOOD,), devices=(DEVICE,), ready_s=1.25)
CHANGE = RehearsedChange(
    stayed=2,
    moved=1,
    reloaded=0,
    came=0,
    left=0,
    opened=("u",),
    closed=(),
    seconds=2.0,
    looks=9,
    absences=(),
    asked=5,
    unanswered=(),
)


def a_rehearsal(*shards: RehearsedShard, change: RehearsedChange | None = None) -> Rehearsal:
    return Rehearsal(
        models=tuple(model for shard in shards for model in shard.models),
        devices=tuple(device for shard in shards for device in shard.devices),
        shards=shards,
        change=change,
    )


def test_what_is_as_planned_is_said_so() -> None:
    seen = a_rehearsal(SHARD, change=CHANGE)
    assert seen.as_planned
    assert list(rehearsal_names(seen)) == []
    text = rehearsal_text(seen)
    for line in (
        "s       t4        1/1   1.2 s   3Gi          exact          4Gi",
        "replicas   2 stay, 1 change devices in place",
        "opened     u",
        "requests   5 of 5 to models that should stay were answered",
        "memory     1 of 1 GPU to the byte",
        "verdict    as planned",
    ):
        assert line in text.splitlines()


def test_a_model_that_is_not_loaded_is_named_with_its_reason() -> None:
    seen = a_rehearsal(replace(SHARD, models=(GOOD, BAD)))
    assert not seen.as_planned
    assert list(rehearsal_names(seen)) == ["shard/s", "model/b"]
    assert "s/b: FailedToLoad (NoRoom: full)" in rehearsal_text(seen)
    assert rehearsal_text(seen).endswith("verdict    not as planned")


def test_a_byte_too_many_is_not_as_planned_unless_the_server_keeps_it() -> None:
    more = replace(DEVICE, measured_bytes=DEVICE.measured_bytes + 1)
    assert "s/0: 3Gi expected, NVML says 3Gi (+1 bytes)" in rehearsal_text(
        a_rehearsal(replace(SHARD, devices=(more,)))
    )
    kept = replace(more, kept_bytes=1)
    assert a_rehearsal(replace(SHARD, devices=(kept,))).as_planned
    assert "exact, 1 kept" in rehearsal_text(a_rehearsal(replace(SHARD, devices=(kept,))))


def test_a_model_that_was_away_or_silent_is_not_as_planned() -> None:
    away = replace(CHANGE, absences=(Absence(model="a", shard="s", looks=3),))
    assert not a_rehearsal(SHARD, change=away).as_planned
    assert "  s/a: at 3 looks in a row" in rehearsal_text(a_rehearsal(SHARD, change=away))
    silent = replace(CHANGE, unanswered=("s/a: 503 no",))
    assert not a_rehearsal(SHARD, change=silent).as_planned
    assert "requests   4 of 5 " in rehearsal_text(a_rehearsal(SHARD, change=silent))


def test_a_wrong_answer_and_a_fault_are_told() -> None:
    wrong = replace(SHARD, models=(replace(GOOD, correct=False),))
    assert "s/a: loaded, and does not answer as it should" in rehearsal_text(a_rehearsal(wrong))
    assert "s: it ended" in rehearsal_text(a_rehearsal(replace(SHARD, fault="it ended")))

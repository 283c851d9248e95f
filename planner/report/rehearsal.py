"""What a rehearsal saw, as reports show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedModel:
    """One model that was really loaded and asked.

    Parameters
    ----------
    model, shard
        Which model, on which shard.
    endpoint
        The URL that answered; None if there was none.
    state
        What the agent said of it, as ``Loaded``.
    correct
        Whether the server's answer was the model's own; None was not asked.
    reason, message
        Why it is not loaded; None where it is.
    """

    model: str
    shard: str
    endpoint: str | None
    state: str
    correct: bool | None
    reason: str | None = None
    message: str | None = None

    @property
    def loaded(self) -> bool:
        """Whether the server holds it."""
        return self.state == "Loaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedDevice:
    """One GPU, as planned and as NVML reported it, the driver's own reservation left out of both.

    Parameters
    ----------
    device
        ``<shard>/<ordinal>``.
    planned_bytes, measured_bytes
        Context, pool, foreign processes, backend bases and models.
    kept_bytes
        What the server keeps of models that have left since it was started, which the plan does not count.
    planned_peak_bytes, peak_bytes
        The most while models load: the plan's account, and what was seen; None was not looked at.
    """

    device: str
    planned_bytes: int
    measured_bytes: int
    kept_bytes: int = 0
    planned_peak_bytes: int | None = None
    peak_bytes: int | None = None

    @property
    def difference_bytes(self) -> int:
        """Return what is used beyond what is expected; negative where it is less."""
        return self.measured_bytes - self.planned_bytes - self.kept_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedShard:
    """One shard that was started.

    Parameters
    ----------
    shard, shard_type
        Which, and its template.
    models
        Those that it should hold.
    devices
        Its GPUs.
    ready_s
        Seconds until its agent had nothing left to do; None if that was not seen.
    loads, unloads, failed_loads
        What its agent did, counted since this plan's documents were there.
    no_room
        Loads that the agent did not ask for, because NVML said that they could not fit.
    fault
        Why it did not start, or did not go on; None where it did.
    """

    shard: str
    shard_type: str
    models: tuple[RehearsedModel, ...]
    devices: tuple[RehearsedDevice, ...]
    ready_s: float | None
    loads: int = 0
    unloads: int = 0
    failed_loads: int = 0
    no_room: int = 0
    fault: str | None = None

    @property
    def missing(self) -> tuple[RehearsedModel, ...]:
        """Return the models that are not loaded."""
        return tuple(model for model in self.models if not model.loaded)

    @property
    def as_planned(self) -> bool:
        """Whether every model is loaded, answers, and every GPU holds the bytes that it should."""
        exact = all(device.difference_bytes == 0 for device in self.devices)
        right = all(model.correct is not False for model in self.models)
        return self.fault is None and not self.missing and exact and right


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A model that should have stayed and was away from its shard.

    ``looks`` is at how many looks in a row at most; they are a tenth of a second apart, or a little more.
    """

    model: str
    shard: str
    looks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedChange:
    """How one plan became the other.

    Parameters
    ----------
    stayed, moved, reloaded, came, left
        Replicas by what the plans ask of them: nothing; other devices of their shard, in place; to be loaded
        anew where they are; to come to their shard; to leave it.
    opened, closed
        Shards that were started and stopped.
    seconds
        From the new documents until every agent had nothing left to do.
    looks, absences
        How often it was looked whether what should stay is ready, and what was not.
    asked, unanswered
        Requests to models that should stay, and what came instead of a right answer.
    """

    stayed: int
    moved: int
    reloaded: int
    came: int
    left: int
    opened: tuple[str, ...]
    closed: tuple[str, ...]
    seconds: float
    looks: int
    absences: tuple[Absence, ...]
    asked: int
    unanswered: tuple[str, ...]

    @property
    def as_planned(self) -> bool:
        """Whether nothing that should stay was away or failed to answer."""
        return not self.absences and not self.unanswered


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """Everything that was seen when a plan was carried out on this machine.

    Parameters
    ----------
    models, devices
        All of them.
    shards
        The same by shard; empty where only models and devices are told.
    before
        Shards of the plan that was in force, as they were under it; empty without one.
    change
        How that plan became this one; None without one.
    skipped
        Shards of model servers that cannot be started here, and the server's name.
    left_out
        How many more shards could have been rehearsed.
    """

    models: tuple[RehearsedModel, ...]
    devices: tuple[RehearsedDevice, ...] = ()
    shards: tuple[RehearsedShard, ...] = ()
    before: tuple[RehearsedShard, ...] = ()
    change: RehearsedChange | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    left_out: int = 0

    @property
    def as_planned(self) -> bool:
        """Whether everything that was rehearsed went as the plan says."""
        changed = self.change is None or self.change.as_planned
        return changed and all(shard.as_planned for shard in self.shards)

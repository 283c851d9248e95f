"""What a rehearsal saw, as the report shows it."""

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
    """

    model: str
    shard: str
    endpoint: str | None
    state: str
    correct: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedDevice:
    """One GPU, as planned and as NVML reported it, the driver's own reservation left out of both.

    Parameters
    ----------
    device
        ``<shard>/<ordinal>``.
    planned_bytes, measured_bytes
        Context, pool, backend bases and models.
    """

    device: str
    planned_bytes: int
    measured_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """Everything that was seen when a plan was carried out on this machine."""

    models: tuple[RehearsedModel, ...]
    devices: tuple[RehearsedDevice, ...] = ()

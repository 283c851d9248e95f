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
    planned_bytes, measured_bytes
        Device memory in the plan, and as it was measured; None is not known.
    """

    model: str
    shard: str
    endpoint: str | None
    state: str
    correct: bool | None
    planned_bytes: int | None = None
    measured_bytes: int | None = None

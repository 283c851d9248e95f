"""What one replica of a model uses on a class of device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from planner.domain.fleet import Named

Quantile = Literal["p50", "p95"]
FootprintSource = Literal["measured", "imported", "estimated", "declared"]

ANY_CLASS = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """An uncertain amount: its median and its 95th percentile, ``p50 <= p95``, in one unit."""

    p50: int
    p95: int

    def at(self, quantile: Quantile) -> int:
        """Return the amount at a quantile."""
        return self.p95 if quantile == "p95" else self.p50


ZERO = Amount(p50=0, p95=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FootprintOption:
    """One way of running a model's replica, and the whole of what it then uses.

    Parameters
    ----------
    device_class
        The class of device, or ``*`` for any that has no option of its own.
    batch, instances
        Largest batch and number of instances that the figures stand for.
    steady_bytes
        GPU memory on each of its devices after warm-up.
    load_peak_bytes
        GPU memory on each of its devices while it loads, ``>= steady_bytes``.
    residual_bytes
        GPU memory that stays with the process after an unload.
    device_milli
        Share of the time of each of its devices at the stated rate, in milli-devices.
    cpu_milli, memory_bytes, disk_bytes
        Host CPU, host memory and disk.
    source
        Where the figures come from. Those that were ``measured`` or ``imported`` are differences of the
        device's memory and contain the contexts of instance processes; to those that were ``estimated``
        or ``declared`` the memory model adds them.
    extra
        Further named resources.
    """

    device_class: str
    batch: int = 1
    instances: int = 1
    steady_bytes: Amount = ZERO
    load_peak_bytes: Amount = ZERO
    residual_bytes: Amount = ZERO
    device_milli: Amount = ZERO
    cpu_milli: Amount = ZERO
    memory_bytes: Amount = ZERO
    disk_bytes: Amount = ZERO
    source: FootprintSource = "declared"
    extra: Named = ()


def uses_device(option: FootprintOption) -> bool:
    """Return whether a replica uses its device's memory or time at all.

    A model that runs on the host's CPU may live on a GPU shard; it then pays no backend base there.
    """
    return option.steady_bytes.p95 > 0 or option.load_peak_bytes.p95 > 0 or option.device_milli.p95 > 0

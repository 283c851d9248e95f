"""How a GPU can be cut into MIG instances.

A GPU has a row of memory slices; an instance of a profile takes an interval of them that starts at one of a
few places, and a set of instances is possible exactly when their intervals do not overlap and their compute
slices suffice. The tables are those of NVIDIA's MIG user guide ("Supported MIG Profiles"), read for A100, A30
and H100, inferred for H200 and B200, which have the same axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class MigProfile:
    """A slice shape.

    Parameters
    ----------
    name
        NVIDIA's, as ``3g.40gb``; the same name can mean different shapes on different GPUs.
    compute_slices, memory_slices
        How much of the GPU an instance takes.
    starts
        Memory slices at which an instance may start.
    """

    name: str
    compute_slices: int
    memory_slices: int
    starts: tuple[int, ...]


def _eight_slices(*names: str) -> tuple[MigProfile, ...]:
    """Return the profiles of a GPU with 8 memory and 7 compute slices (second: 1g, double memory)."""
    one, double, two, three, four, seven = names
    return (
        MigProfile(name=one, compute_slices=1, memory_slices=1, starts=(0, 1, 2, 3, 4, 5, 6)),
        MigProfile(name=double, compute_slices=1, memory_slices=2, starts=(0, 2, 4, 6)),
        MigProfile(name=two, compute_slices=2, memory_slices=2, starts=(0, 2, 4)),
        MigProfile(name=three, compute_slices=3, memory_slices=4, starts=(0, 4)),
        MigProfile(name=four, compute_slices=4, memory_slices=4, starts=(0,)),
        MigProfile(name=seven, compute_slices=7, memory_slices=8, starts=(0,)),
    )


_40 = _eight_slices("1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb")
_80 = _eight_slices("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb")
_141 = _eight_slices("1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb")
_180 = _eight_slices("1g.23gb", "1g.45gb", "2g.45gb", "3g.90gb", "4g.90gb", "7g.180gb")
_A30 = (
    MigProfile(name="1g.6gb", compute_slices=1, memory_slices=1, starts=(0, 1, 2, 3)),
    MigProfile(name="2g.12gb", compute_slices=2, memory_slices=2, starts=(0, 2)),
    MigProfile(name="4g.24gb", compute_slices=4, memory_slices=4, starts=(0,)),
)

_TABLES: dict[str, tuple[MigProfile, ...]] = {
    "NVIDIA-A30": _A30,
    "NVIDIA-A100-SXM4-40GB": _40,
    "NVIDIA-A100-PCIE-40GB": _40,
    "NVIDIA-A100-SXM4-80GB": _80,
    "NVIDIA-A100-80GB-PCIe": _80,
    "NVIDIA-H100-80GB-HBM3": _80,
    "NVIDIA-H100-PCIe": _80,
    "NVIDIA-H200": _141,
    "NVIDIA-B200": _180,
}
"""By the node label ``nvidia.com/gpu.product``: a profile's name alone does not say its shape."""


def profiles_of(product: str) -> tuple[MigProfile, ...]:
    """Return the profiles of a GPU product (``nvidia.com/gpu.product``); empty if none are known."""
    return _TABLES.get(product, ())


def fits(product: str, names: Iterable[str]) -> bool:
    """Return whether a GPU can be cut into instances of the named profiles at the same time.

    An attribute behind the name (``1g.10gb+me``: with the media engines) does not change the shape.
    """
    known = {profile.name: profile for profile in profiles_of(product)}
    wanted = tuple(known.get(name.partition("+")[0]) for name in names)
    profiles = tuple(profile for profile in wanted if profile is not None)
    if len(profiles) < len(wanted):
        return False
    largest = sorted(profiles, key=lambda profile: (-profile.memory_slices, profile.name))
    compute = max(profile.compute_slices for profile in known.values()) if known else 0
    return sum(profile.compute_slices for profile in profiles) <= compute and _arrange(tuple(largest), 0)


@lru_cache(maxsize=4096)
def _arrange(profiles: tuple[MigProfile, ...], taken: int) -> bool:
    """Return whether the profiles find free intervals; ``taken`` has a bit for each memory slice in use."""
    if not profiles:
        return True
    first, rest = profiles[0], profiles[1:]
    interval = (1 << first.memory_slices) - 1
    return any(
        not taken & (interval << start) and _arrange(rest, taken | (interval << start))
        for start in first.starts
    )

"""Sites of patterns by chance, and what fits on them by the definition."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from hypothesis import strategies as st

from planner.solve.patterns.sites import Site


def a_site(room: Sequence[int], *sizes: Sequence[int], most: int = 1, **more: object) -> Site:
    """A site whose classes take nothing but their sizes."""
    classes = len(sizes)
    zeros = np.zeros(classes, dtype=np.int64)
    plain = {
        "room": np.array(room, dtype=np.int64),
        "size": np.array(sizes, dtype=np.int64).reshape(classes, len(room)),
        "most": np.full(classes, most, dtype=np.int64),
        "backends": zeros,
        "base": np.zeros((0, len(room)), dtype=np.int64),
        "surplus": zeros,
        "loads": 0,
        "label": zeros,
    }
    return Site(**{**plain, **more})  # type: ignore[arg-type]


def _ints(draw: st.DrawFn, count: int, most: int) -> np.ndarray:
    return np.array([draw(st.integers(0, most)) for _ in range(count)], dtype=np.int64)


@st.composite
def sites(draw: st.DrawFn) -> Site:
    """Up to six classes in up to three dimensions; bases, room for loading and labels may bind."""
    classes, dims, backends = draw(st.integers(1, 6)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    return Site(
        room=_ints(draw, dims, 40) + 5,
        size=_ints(draw, classes * dims, 20).reshape(classes, dims),
        most=_ints(draw, classes, 2),
        backends=_ints(draw, classes, 2**backends - 1),
        base=_ints(draw, backends * dims, 6).reshape(backends, dims),
        surplus=_ints(draw, classes, 8),
        loads=draw(st.integers(0, 2)),
        label=_ints(draw, classes, draw(st.integers(0, 1))),
    )


def fits(site: Site, counts: Sequence[int]) -> bool:
    """Return whether so many units of each class fit together, by the definition of a site."""
    inside = [number for number, count in enumerate(counts) if count]
    if any(count > site.most[number] for number, count in enumerate(counts)):
        return False
    if len({int(site.label[number]) for number in inside}) > 1:
        return False
    taken = sum((counts[number] * site.size[number] for number in inside), np.zeros_like(site.room))
    for backend, base in enumerate(site.base):
        if any(int(site.backends[number]) >> backend & 1 for number in inside):
            taken = taken + base
    surpluses = sorted((int(site.surplus[n]) for n in inside for _ in range(counts[n])), reverse=True)
    taken[0] += sum(surpluses[: site.loads])
    return bool((taken <= site.room).all())


def patterns(site: Site) -> Iterator[tuple[int, ...]]:
    """Yield every set of units that fits, as counts of the classes."""
    for counts in itertools.product(*(range(int(most) + 1) for most in site.most)):
        if fits(site, counts):
            yield counts

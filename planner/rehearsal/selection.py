"""Which shards of a plan are rehearsed: this machine holds a few, a plan may have hundreds. PURE."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from planner.domain.placement import Placement, Shard
from planner.domain.scenario import Scenario, names
from planner.errors import Fault, InputError

RUNTIME = "triton"
"""The one model server that can be started here."""

SHARD_BYTES = 128 * 2**20
"""Host memory that a server (seen at 40 MiB) and its agent (55 MiB) are reckoned with; models take more."""

_MOST_SHARDS = 64
"""Beyond this the cores are the limit, and nothing is learnt that fewer shards would not show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is rehearsed.

    Parameters
    ----------
    shards
        Names, sorted; of the plan, of the one before, or of both.
    skipped
        Shards of other model servers and the server's name, sorted.
    left_out
        How many more there are that could have been rehearsed.
    """

    shards: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    left_out: int = 0


def most_shards(available_bytes: int) -> int:
    """Return how many shards this machine is trusted with, at least one."""
    return max(1, min(_MOST_SHARDS, available_bytes // SHARD_BYTES))


def select_shards(
    plans: Sequence[tuple[Scenario, Placement]],
    *,
    only: Collection[str] = (),
    sample: int | None = None,
    most: int,
) -> Selection:
    """Return which shards are rehearsed.

    Parameters
    ----------
    plans
        The plan, after the one that was in force before it if there is one.
    only
        Shards that were named; none is all.
    sample
        Take so many of them: those that change first, the fullest first, every shard type in turn.
    most
        How many may be rehearsed at once.

    Raises
    ------
    InputError
        A name that is no shard, no shard that could be rehearsed, or too many.
    """
    runtimes = {shard.name: runtime for plan in plans for shard, runtime in _runtimes(*plan)}
    _check_names(only, runtimes)
    wanted = sorted(set(only) or runtimes)
    shards = [name for name in wanted if runtimes[name] == RUNTIME]
    skipped = tuple((name, runtimes[name]) for name in wanted if runtimes[name] != RUNTIME)
    if not shards:
        raise _fault(f"there is no shard of {RUNTIME} to rehearse")
    chosen = shards if sample is None else _sample(shards, [placement for _, placement in plans])[:sample]
    if len(chosen) > most:
        raise _fault(
            f"{len(chosen):,} shards, and this machine has memory for {most}: rehearse some of them,"
            f" with --only SHARD,... or --sample {most}"
        )
    return Selection(shards=tuple(sorted(chosen)), skipped=skipped, left_out=len(shards) - len(chosen))


def restricted(placement: Placement, shards: Collection[str]) -> Placement:
    """Return a placement with some of its shards alone."""
    return replace(
        placement,
        shards=tuple(shard for shard in placement.shards if shard.name in shards),
        placed=tuple(item for item in placement.placed if item.shard in shards),
    )


def _runtimes(scenario: Scenario, placement: Placement) -> Iterable[tuple[Shard, str]]:
    types = names(scenario).shard_types
    return ((shard, types[shard.shard_type].runtime) for shard in placement.shards)


def _check_names(given: Iterable[str], known: Mapping[str, str]) -> None:
    faults = []
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            faults.append(Fault(path="--only", message=f"the plan has no shard {name!r}{hint}"))
    if faults:
        raise InputError(faults)


def _sample(shards: Iterable[str], placements: Sequence[Placement]) -> list[str]:
    """Return shards in the order in which they are worth a look."""
    latest = placements[-1]
    types = {shard.name: shard.shard_type for placement in placements for shard in placement.shards}
    models = Counter(item.shard for item in latest.placed)
    changed = _changed(placements)
    by_type: dict[str, list[str]] = defaultdict(list)
    for name in sorted(shards, key=lambda name: (name not in changed, -models[name], name)):
        by_type[types[name]].append(name)
    turns = zip_longest(*(by_type[kind] for kind in sorted(by_type)))
    return sorted((name for turn in turns for name in turn if name is not None), key=_in(changed))


def _in(changed: Collection[str]) -> Callable[[str], bool]:
    return lambda name: name not in changed


def _changed(placements: Sequence[Placement]) -> set[str]:
    """Return the shards that differ between the first placement and the last; none if there is but one."""
    first, last = placements[0], placements[-1]
    differ = {item.shard for item in set(first.placed) ^ set(last.placed)}
    return differ | {shard.name for shard in set(first.shards) ^ set(last.shards)}


def _fault(message: str) -> InputError:
    return InputError([Fault(path="", message=message)])

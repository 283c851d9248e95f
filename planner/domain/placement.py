"""Which shards are open and which replica is on which device of which of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """An open shard.

    Parameters
    ----------
    name
        ``<group>`` or ``<group>-<k>``, unique in a plan, and the name of its InferenceService.
    shard_type
        Its template.
    node
        The node it is on; None for a shard that is bought.
    node_devices
        For each of its devices the position in ``Node.devices``; empty for a shard that is bought or
        that has no GPU.
    """

    name: str
    shard_type: str
    node: str | None = None
    node_devices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Placed:
    """One replica of a model on its device or devices.

    Parameters
    ----------
    model, replica
        Which; replicas are numbered from 0.
    shard
        The shard's name.
    devices
        Ordinals of the shard's devices; one, or ``devices_per_replica`` whole ones.
    option
        Index into the model's footprints.
    """

    model: str
    replica: int
    shard: str
    devices: tuple[int, ...]
    option: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Shards and what is on them; shards sorted by name, placed sorted."""

    shards: tuple[Shard, ...] = ()
    placed: tuple[Placed, ...] = ()


def parents(placed: Iterable[Placed]) -> dict[str, Placed]:
    """Return for every placed model its lowest placed replica: replica 0, unless that one was refused.

    Its shard is the parent of the model's TrainedModel and has the model in its ``models.json``.
    """
    found: dict[str, Placed] = {}
    for item in placed:
        known = found.setdefault(item.model, item)
        if item.replica < known.replica:
            found[item.model] = item
    return found

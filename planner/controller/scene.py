"""What the parts of the engine share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from planner.controller.fleets import Fleets
from planner.controller.hearing import Hearing
from planner.controller.objects import Style
from planner.controller.pace import Pace, Postponed
from planner.controller.views import ModelView
from planner.controller.world import World
from planner.controller.writes import Level, Told


def _ignore(_: float) -> None:
    """Measure nothing."""


@dataclass(slots=True, kw_only=True)
class Scene:
    """What the parts of the engine look at and note for each other.

    Parameters
    ----------
    style, pace
        How objects are written, and when.
    world, fleets, hearing
        The cluster, the plans, and what agents tell.
    postponed
        Shards whose documents are to be looked at.
    unsettled, unnamed, untold
        Models whose places, whose TrainedModels and whose statuses are to be looked at.
    unserved
        Shards of which a server, or what is beside it, may be missing.
    unjudged
        Shards of which the server may have another template than it should.
    unfronted
        Whether gateways may be missing.
    touched
        Shards on which something has changed that routes may depend on.
    handed
        Models that move, of which routes leave out the copies on their way out.
    told
        Events that are not handed out yet.
    decided
        Count of decisions by outcome.
    timed
        Takes the seconds of every decision about a model.
    """

    style: Style
    pace: Pace
    world: World
    fleets: Fleets
    hearing: Hearing
    postponed: Postponed
    unsettled: set[str] = field(default_factory=set)
    unnamed: set[str] = field(default_factory=set)
    untold: set[str] = field(default_factory=set)
    unserved: set[str] = field(default_factory=set)
    unjudged: set[str] = field(default_factory=set)
    unfronted: bool = True
    touched: set[str] = field(default_factory=set)
    handed: set[str] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    decided: Counter[str] = field(default_factory=Counter)
    timed: Callable[[float], None] = _ignore
    _blocked: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _waiters: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def touch(self, shards: Iterable[str], name: str | None, now: float) -> None:
        """Note that the contents of shards have changed, and that a model waits for them to be published."""
        for shard in shards:
            self.touched.add(shard)
            self.postponed.add(shard, now)
            if name is not None:
                self._blocked[name].add(shard)
                self._waiters[shard].add(name)

    def published(self, shard: str) -> None:
        """Note that a shard's documents say what they should: models that waited for it may be named."""
        self.postponed.done(shard)
        for name in self._waiters.pop(shard, ()):
            self._blocked[name].discard(shard)
            if not self._blocked[name]:
                del self._blocked[name]
                self.unnamed.add(name)
                self.untold.add(name)

    def tell_of(self, fleet: str, reason: str, message: str, *, level: Level = "Normal") -> None:
        """Have an event told of a fleet's document."""
        source = self.world.config_maps.get(fleet)
        self.told.append(
            Told(
                kind="ConfigMap",
                name=fleet,
                uid=source.uid if source else "",
                level=level,
                reason=reason,
                message=message,
            )
        )

    def may_be_written(self, view: ModelView) -> bool:
        """Return whether a TrainedModel may be written while its parent stays as it is.

        KServe's controller looks at a TrainedModel after every write, that of its status too, and deletes one
        whose InferenceService is not there.
        """
        if self.style.mode == "standalone" or view.deleting:
            return True
        parent = self.world.inference_services.get(view.parent)
        return parent is not None and not parent.deleting

    def is_blocked(self, name: str) -> bool:
        """Return whether a model waits for documents."""
        return name in self._blocked

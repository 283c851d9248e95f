"""What the agents tell of the models on their shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from planner.controller.conditions import CopyState, worst
from planner.controller.views import PodView

States = Mapping[str, tuple[str, str]]
"""State and message by model."""


def states_in(document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what a status document, or a page of one, tells of each model."""
    return {
        str(name): (str(entry.get("state")), str(entry.get("message") or ""))
        for name, entry in (document.get("models") or {}).items()
    }


class Hearing:
    """The last words of every agent, by shard and pod."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, dict[str, tuple[str, str]]]] = defaultdict(dict)

    def hear(self, pod: PodView, states: States) -> set[str]:
        """Take what a pod's agent tells; returns the models of which it tells something else than before."""
        before = self._told[pod.shard].get(pod.name, {})
        self._told[pod.shard][pod.name] = dict(states)
        return {name for name in before.keys() | states.keys() if before.get(name) != states.get(name)}

    def forget(self, pod: PodView) -> set[str]:
        """Take note that a pod is gone; returns the models that it told of."""
        return set(self._told[pod.shard].pop(pod.name, {}))

    def drop(self, name: str, shard: str) -> None:
        """Forget what was told of a model on a shard: it comes there anew, and that was before."""
        for states in self._told.get(shard, {}).values():
            states.pop(name, None)

    def copy_state(self, name: str, shard: str) -> CopyState:
        """Return how far a model is on a shard; of several pods the one that is furthest behind speaks."""
        told: Iterable[States] = self._told.get(shard, {}).values()
        state, message = worst(states.get(name, ("Pending", "")) for states in told)
        return CopyState(shard=shard, state=state, message=message, heard=shard in self._told)

    def is_loaded_by_some(self, name: str, shard: str) -> bool:
        """Return whether some pod of a shard has a model loaded, whatever the others say."""
        told = self._told.get(shard, {}).values()
        return any(states.get(name, ("", ""))[0] == "Loaded" for states in told)

"""What the agents tell of the models on their shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.controller.conditions import FAILURES, CopyState, worst
from planner.controller.views import PodView

States = Mapping[str, tuple[str, str]]
"""State and message by model."""


def states_in(document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what a status document, or a page of one, tells of each model."""
    return {
        str(name): (str(entry.get("state")), str(entry.get("message") or ""))
        for name, entry in (document.get("models") or {}).items()
    }


@dataclass(frozen=True, slots=True)
class _Words:
    """What a pod's agent said, and whether Services led to the pod then."""

    states: dict[str, tuple[str, str]]
    serves: bool


_NOTHING = _Words({}, serves=True)


class Hearing:
    """The last words of every agent, by shard and pod."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, _Words]] = defaultdict(dict)

    def hear(self, pod: PodView, states: States) -> set[str]:
        """Take what a pod's agent tells; returns the models of which that is something new."""
        before = self._told[pod.shard].get(pod.name, _NOTHING)
        self._told[pod.shard][pod.name] = _Words(dict(states), pod.serves)
        names = before.states.keys() | states.keys()
        if before.serves != pod.serves:
            return names
        return {name for name in names if before.states.get(name) != states.get(name)}

    def forget(self, pod: PodView) -> set[str]:
        """Take note that a pod is gone; returns the models that it told of."""
        return set(self._told[pod.shard].pop(pod.name, _NOTHING).states)

    def drop(self, name: str, shard: str) -> None:
        """Forget what was told of a model on a shard: it comes there anew, and that was before."""
        for words in self._told.get(shard, {}).values():
            words.states.pop(name, None)

    def copy_state(self, name: str, shard: str) -> CopyState:
        """Return how far a model is on a shard; of several pods the one that is furthest behind speaks."""
        words = self._told.get(shard, {}).values()
        told = [(*one.states.get(name, ("Pending", "")), one.serves) for one in words]
        state, message = worst((state, message) for state, message, _ in told)
        asked = [(state, message) for state, message, serves in told if serves] or [(state, message)]
        answers = all(state == "Loaded" for state, _ in asked)
        if answers and state not in FAILURES:
            message = max(message for _, message in asked)
        heard = shard in self._told
        return CopyState(shard=shard, state=state, message=message, heard=heard, answers=answers)

    def is_loaded_by_some(self, name: str, shard: str) -> bool:
        """Return whether some pod of a shard has a model loaded, whatever the others say."""
        words = self._told.get(shard, {}).values()
        return any(one.states.get(name, ("", ""))[0] == "Loaded" for one in words)

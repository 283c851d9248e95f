"""What the status of a TrainedModel says of its life: where it is, and how many of its copies are loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from planner.controller.views import Object

ASSIGNED = "Assigned"
"""Condition: every replica has a shard, and the documents say so."""

LOADED = "Loaded"
"""Condition: every replica is loaded by the pods that are asked for it and failed in none, as agents tell."""

READY = "Ready"
"""Condition, where KServe's controllers do not run: some copy is loaded, so that the address answers."""

TRANSFORMER_READY = "TransformerReady"
"""Condition of a model that names a transformer: some pod of that is ready, without which nothing answers."""

NOT_SERVING = "TransformerNotReady"
"""Reason of ``Ready``, where no pod of the transformer is ready."""

FAILURES: Final = ("FailedToLoad", "DownloadFailed")
_PROGRESS: Final = (*FAILURES, "Pending", "Downloading", "Loading", "Unloading", "Standby", "Loaded")
"""States of an agent's model; of several pods the first in this order speaks for their shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyState:
    """How far a copy is on its shard.

    Parameters
    ----------
    shard
        Which.
    state
        One of the agents' states, of the pod that is furthest behind; ``Pending`` where no agent tells.
    message
        What that agent says of it, be it nothing; one that has it, where the others are no more than new.
    heard
        Whether any agent of the shard has ever said anything to this controller.
    answers
        Whether requests for it are answered: all pods that Services lead to have it loaded, whatever a new
        one is at.
    """

    shard: str
    state: str
    message: str = ""
    heard: bool = True
    answers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What is known of a model, for its conditions.

    Parameters
    ----------
    replicas
        How many it asks for.
    copies
        Those that stay.
    leaving
        Those on their way out.
    transformer, is_transformed
        What its requests pass through, None for nothing; and whether some pod of that is ready.
    reason, refusal
        Why not all replicas have a place, in a word and in a sentence; empty where they have.
    """

    replicas: int
    copies: Sequence[CopyState]
    leaving: Sequence[CopyState] = ()
    reason: str = ""
    refusal: str = ""
    transformer: str | None = None
    is_transformed: bool = True

    @property
    def loaded(self) -> int:
        """Return how many replicas answer."""
        return sum(copy.answers for copy in self.copies)

    @property
    def is_loaded(self) -> bool:
        """Whether every replica that is asked for answers, and has failed in no pod."""
        return self.loaded >= self.replicas and not self.failed

    @property
    def all_loaded(self) -> bool:
        """Whether every replica that is asked for is loaded by all pods of its shard."""
        return sum(copy.state == "Loaded" for copy in self.copies) >= self.replicas

    @property
    def serves(self) -> bool:
        """Whether some copy answers, be it one that is on its way out."""
        return any(copy.answers for copy in (*self.copies, *self.leaving))

    @property
    def unheard(self) -> bool:
        """Whether nobody of some copy's shard has said anything yet."""
        return not all(copy.heard for copy in (*self.copies, *self.leaving))

    @property
    def failed(self) -> bool:
        """Whether some copy could not be fetched or loaded."""
        return any(copy.state in FAILURES for copy in self.copies)


def worst(states: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Return the state, and its message, that speaks for several pods of a shard; ``Pending`` for none."""
    return min(states, key=lambda item: _rank(item[0]), default=("Pending", ""))


def _rank(state: str) -> int:
    return _PROGRESS.index(state) if state in _PROGRESS else len(_PROGRESS)


def conditions_of(life: Life, *, ready: bool) -> tuple[dict[str, Any], ...]:
    """Return the conditions of ours that a model should have, without their times.

    Parameters
    ----------
    ready
        Whether ``Ready`` is among them.
    """
    found = [_assigned(life), _loaded(life)]
    if life.transformer is not None:
        found.append(_transformer_ready(life))
    if ready:
        found.append(_ready(life))
    return tuple(found)


def _assigned(life: Life) -> dict[str, Any]:
    # In the order of their numbers, whatever was placed first: who starts anew is to say the same.
    where = ", ".join(sorted((copy.shard for copy in life.copies), key=lambda name: (len(name), name)))
    if life.refusal:
        have = f"{len(life.copies)} of {_replicas(life.replicas)}" + (f" on {where}" if where else "")
        return _condition(ASSIGNED, "False", life.reason, f"{have}; {life.refusal}")
    out = "".join(f"; the copy on {copy.shard} goes when all are loaded" for copy in life.leaving)
    return _condition(ASSIGNED, "True", "Placed", f"{_replicas(life.replicas)} on {where}{out}")


def _loaded(life: Life) -> dict[str, Any]:
    count = f"{life.loaded} of {_replicas(life.replicas)} loaded"
    if life.is_loaded:
        notes = (f"; {copy.shard}: {copy.message}" for copy in life.copies if copy.message)
        return _condition(LOADED, "True", "Loaded", count + next(notes, ""))
    behind = [copy for copy in life.copies if not copy.answers or copy.state in FAILURES]
    first = min(behind, key=lambda copy: _rank(copy.state), default=None)
    if first is None:
        return _condition(LOADED, "False", "Unplaced", count)
    who = f"a new pod of {first.shard}" if first.answers else first.shard
    said = f"; {who}: {first.state}" + (f": {first.message}" if first.message else "")
    status = "False" if first.state in FAILURES else "Unknown"
    return _condition(LOADED, status, first.state, count + said)


def _transformer_ready(life: Life) -> dict[str, Any]:
    if life.is_transformed:
        return _condition(TRANSFORMER_READY, "True", "Ready", f"transformer {life.transformer}")
    return _condition(TRANSFORMER_READY, "False", NOT_SERVING, _no_pod(life))


def _no_pod(life: Life) -> str:
    return f"no pod of transformer {life.transformer} is ready"


def _ready(life: Life) -> dict[str, Any]:
    if life.serves and not life.is_transformed:
        return _condition(READY, "False", NOT_SERVING, _no_pod(life))
    if life.serves:
        return _condition(READY, "True", "Serving", f"{life.loaded} of {_replicas(life.replicas)} loaded")
    return _condition(READY, "False", "NotLoaded", "no copy is loaded")


def _condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _replicas(count: int) -> str:
    return f"{count} replica" if count == 1 else f"{count} replicas"


def worded_as_before(known: Iterable[Object], wanted: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return conditions, a refusal as it was put before where the same rules stand against the model.

    How much is lacking, and which shard lacks least, changes with every neighbour that comes or goes.
    """
    before = {item.get("type"): item for item in known}
    return tuple(
        {**item, "message": before[ASSIGNED]["message"]}
        if item["type"] == ASSIGNED and _is_as_before(before.get(ASSIGNED), item)
        else item
        for item in wanted
    )


def _is_as_before(before: Object | None, item: Object) -> bool:
    if before is None or item["status"] == "True" or not isinstance(before.get("message"), str):
        return False
    same = all(before.get(key) == item[key] for key in ("status", "reason"))
    return same and _gist(before["message"]) == _gist(item["message"])


def _gist(message: str) -> tuple[str, str]:
    """Return what of a refusal is no number of the others': how many have a place, and the rules."""
    have, _, why = message.partition("; ")
    return have, _COUNTED.sub("", why)


_COUNTED = re.compile(r"nearest \S+|[0-9]\S*( [A-Za-z/]+)?")
"""The shard that is told of; numbers, with the word behind them, as it may be one shard or several."""


def is_assigned(conditions: Iterable[Object]) -> bool:
    """Return whether conditions say that a model has its place: then its parent is where it was put."""
    return any(item.get("type") == ASSIGNED and item.get("status") == "True" for item in conditions)


def merged(
    known: Sequence[Object], wanted: Iterable[Object], *, now: str
) -> tuple[dict[str, Any], ...] | None:
    """Return all conditions of an object once ours are what they should be; None if they are.

    Those of others stay as they stand; that about a transformer goes where none is named any more. A time
    changes with its condition's status only.

    Parameters
    ----------
    now
        As Kubernetes writes it.
    """
    ours = {item["type"]: dict(item) for item in wanted}
    result, changed = [], False
    for item in known:
        fresh = ours.pop(item["type"], None)
        if fresh is None and item["type"] == TRANSFORMER_READY:
            changed = True
            continue
        if fresh is None or _same(item, fresh):
            result.append(dict(item))
            continue
        since = item.get("lastTransitionTime", now) if item.get("status") == fresh["status"] else now
        result.append({**fresh, "lastTransitionTime": since})
        changed = True
    result += [{**fresh, "lastTransitionTime": now} for fresh in ours.values()]
    return tuple(result) if changed or ours else None


def _same(item: Object, fresh: Object) -> bool:
    return all(item.get(key) == value for key, value in fresh.items())

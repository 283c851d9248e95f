"""What the loop knows, model by model, and which actions follow from it.

The only mutable state of the agent beside the disk. The loop's thread writes; other threads take snapshots.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.actions import Action, hangs, held_devices, next_action, rank
from agent.lanes import Queue, queue_of
from agent.observed import CRASHES_SERVER, NOTHING, PROBE_FAILED, Absence, Copy, Observed, Seen, with_row
from agent.outcomes import SERVER_UNREACHABLE
from agent.pins import Target
from agent.servers.port import IndexRow
from agent.status import ModelState, attempted, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the server and at the repository.

    Parameters
    ----------
    rows
        The server's index; the same object again says that nothing has changed in it.
    folders
        The models that have a folder in the repository.
    began_s
        When it began: what an action changed since is newer.
    """

    rows: Mapping[str, IndexRow]
    folders: frozenset[str]
    began_s: float


class Waiting:
    """The actions that may be started, at most one a model, in queues by `agent.actions.rank`."""

    def __init__(self) -> None:
        self._queues: dict[Queue, list[Action]] = {}
        self._current: dict[str, Action] = {}

    def __len__(self) -> int:
        return len(self._current)

    @property
    def queues(self) -> Collection[Sequence[Action]]:
        """By what they wait for, see `agent.lanes.queue_of`; a view."""
        return self._queues.values()

    def put(self, name: str, action: Action | None) -> None:
        """Replace what waits for a model."""
        if self._current.get(name) == action:
            return
        self._drop(name)
        if action is not None:
            self._current[name] = action
            insort(self._queues.setdefault(queue_of(action), []), action, key=rank)

    def take(self, actions: Collection[Action]) -> None:
        """Take out what has been started."""
        for action in actions:
            self._drop(action.name)

    def clear(self) -> None:
        """Take out everything."""
        self._queues.clear()
        self._current.clear()

    def _drop(self, name: str) -> None:
        action = self._current.pop(name, None)
        if action is None:
            return
        queue = self._queues[queue_of(action)]
        # A rank holds the model's name, so it is unique here.
        del queue[bisect_left(queue, rank(action), key=rank)]
        if not queue:
            del self._queues[queue_of(action)]


class Ledger:
    """Everything that is known of every model.

    Parameters
    ----------
    models
        What an earlier run left on disk.
    server_absent
        Whether there is certainly no server.
    """

    def __init__(self, models: Mapping[str, Seen], *, server_absent: bool = False) -> None:
        self.waiting = Waiting()
        self.running: dict[str, Action] = {}
        self.targets: Mapping[str, Target] = {}
        self.server_live = False
        self._aimed = False
        self._server_absent = server_absent
        self._lock = threading.Lock()
        self._models = dict(models)
        self._changed_at_s: dict[str, float] = {}
        self._unloading = {name for name, seen in models.items() if _unloads(seen)}
        self._suspects: set[str] = set()
        self._absence = Absence.UNKNOWN
        self._since: dict[str, tuple[ModelState, float]] = {}
        self._unattempted: set[str] = set()
        self._unserved: set[str] = set()
        self._still: Look | None = None  # the last look, where nothing can follow from one that is equal

    # ------------------------------------------------------------------------------------------------ reading

    @property
    def models(self) -> Mapping[str, Seen]:
        """What is known of every model; a view, for the loop's own thread."""
        return self._models

    def seen(self, name: str) -> Seen:
        """Return what is known of a model."""
        return self._models.get(name, NOTHING)

    def observed(self, now_s: float) -> Observed:
        """Return everything as the decision wants it; a view, not a copy."""
        return Observed(
            models=self._models,
            server_live=self.server_live,
            server_absent=self._server_absent,
            absence=self._absence,
            now_s=now_s,
        )

    def freeing(self, now_s: float) -> dict[str, str]:
        """Return the devices on which an unload is under way that is waited for, and of which model.

        One that lasts may never end: what is free then is for NVML and the server to say. Safe from any
        thread.
        """
        with self._lock:
            seen = {name: self._models[name] for name in sorted(self._unloading)}
        awaited = {name: one for name, one in seen.items() if not (_is_sick(one) or hangs(one, now_s=now_s))}
        return {device: name for name, one in awaited.items() for device in held_devices(one)}

    @property
    def attempted(self) -> int:
        """How many of the desired models were attempted."""
        return len(self.targets) - len(self._unattempted)

    @property
    def served(self) -> int:
        """How many of the desired models are where they should be: loaded, or standby."""
        return len(self.targets) - len(self._unserved)

    def unloading(self, now_s: float) -> bool:
        """Return whether an unload is awaited, one that has not lasted for so long that it may never end."""
        return any(not hangs(self.seen(name), now_s=now_s) for name in self._unloading)

    def copies(self) -> tuple[dict[str, Seen], dict[str, Action], dict[str, tuple[ModelState, float]]]:
        """Return models, running actions and states, for another thread."""
        with self._lock:
            return dict(self._models), dict(self.running), dict(self._since)

    # ------------------------------------------------------------------------------------------------ writing

    def aim(self, targets: Mapping[str, Target], *, now_s: float, wall_s: float) -> None:
        """Take up new targets, and decide anew what is asked for otherwise; what failed there is tried again.

        What follows for a model depends on its own target alone, so of thousands those that stay are left as
        they are. The first time all are gone through: an earlier run may have left what nobody wants.
        """
        before, self.targets = self.targets, targets
        asked_anew = [name for name in {*before, *targets} if before.get(name) != targets.get(name)]
        for name in asked_anew if self._aimed else {*asked_anew, *self._models}:
            seen = self.seen(name)
            fresh = replace(seen, failure=None, probation=None, setback=None, suspect=False, crashes=0)
            if seen != fresh:
                self._put(name, fresh)
            self.decide(name, now_s=now_s)
            self._note(name, wall_s)
        self._aimed = True

    def start(self, action: Action, *, wall_s: float) -> None:
        """Note that an action is under way."""
        self._still = None
        with self._lock:
            self.running[action.name] = action
        self._note(action.name, wall_s)

    def finish(self, name: str, seen: Seen, *, now_s: float, wall_s: float) -> None:
        """Note what is known of a model after its action, and decide what follows."""
        with self._lock:
            self.running.pop(name, None)
        self._changed_at_s[name] = now_s
        self._put(name, seen)
        self.decide(name, now_s=now_s)
        self._note(name, wall_s)

    def look(self, look: Look, *, now_s: float, wall_s: float) -> bool:
        """Take over a look at the world; return whether the server turned out to be another process."""
        still = self._still
        if still is not None and look.rows is still.rows and look.folders == still.folders:
            return False  # an agent with nothing to do takes next to no time
        restarted = self._restarted(look)
        was_live, self.server_live, self._absence = self.server_live, True, Absence.UNKNOWN
        for name in {*self._models, *look.rows, *look.folders}:
            before = self.seen(name)
            seen = self._looked(name, look, now_s)
            if restarted:
                seen = _on_another_process(seen)
            if seen is before:
                continue
            self._put(name, seen)
            if was_live:  # else all of them are decided below
                self.decide(name, now_s=now_s)
            self._note(name, wall_s)
        if not was_live:
            self.decide_all(now_s=now_s)
        for name in tuple(self._unloading):  # of one that never ends there is nothing new to see
            self.decide(name, now_s=now_s)
        # Older changes can have no look under way that began before them.
        self._changed_at_s = {name: at_s for name, at_s in self._changed_at_s.items() if at_s >= look.began_s}
        waits = any(
            seen.probation is not None or seen.unload_asked_at_s is not None for seen in self._models.values()
        )
        self._still = None if waits or self.running or self._changed_at_s else look
        return restarted

    def lost(self, look: Look) -> dict[str, IndexRow]:
        """Return the rows of the models that the server dropped soon after it had answered their load."""
        rows = {
            name: look.rows.get(name)
            for name, seen in self._models.items()
            if seen.probation is not None and seen.failure is None
        }
        return {
            name: row
            for name, row in rows.items()
            if row is not None and row.state == "UNAVAILABLE" and not self._is_newer(name, look)
        }

    def suspects(self) -> tuple[str, ...]:
        """Return the models during whose load the connection broke, and nobody knows yet why."""
        return tuple(sorted(self._suspects))

    def acquit(self, look: Look) -> None:
        """Note that the server has lived on, where the connection broke during loads before a look."""
        for name in self.suspects():
            if not self._is_newer(name, look):
                self._put(name, replace(self.seen(name), suspect=False))

    def lose_server(self, *, now_s: float, absence: Absence = Absence.UNKNOWN) -> None:
        """Note that the server does not answer: what is known of it is from before."""
        if self.server_live or absence != self._absence:
            self.server_live, self._absence, self._still = False, absence, None
            self.decide_all(now_s=now_s)

    def decide(self, name: str, *, now_s: float) -> None:
        """Decide anew what follows for one model."""
        if name not in self.running:
            self.waiting.put(name, next_action(name, self.targets.get(name), self.observed(now_s)))

    def decide_all(self, *, now_s: float) -> None:
        """Decide anew what follows for every model."""
        self.waiting.clear()
        for name in {*self.targets, *self._models}:
            self.decide(name, now_s=now_s)

    # -------------------------------------------------------------------------------------------- small steps

    def _looked(self, name: str, look: Look, now_s: float) -> Seen:
        seen = self.seen(name)
        if self._is_newer(name, look):
            return seen
        if (seen.installed is not None) != (name in look.folders):
            seen = replace(seen, installed=Copy() if name in look.folders else None)
        return with_row(seen, look.rows.get(name), now_s=now_s)

    def _is_newer(self, name: str, look: Look) -> bool:
        """Return whether an action has changed a model since a look began, or is changing it."""
        return name in self.running or self._changed_at_s.get(name, look.began_s - 1) >= look.began_s

    def _restarted(self, look: Look) -> bool:
        """Return whether a READY model has left the index, its folder not: a server does not forget."""
        return any(
            seen.row is not None
            and seen.row.state == "READY"
            and name not in look.rows
            and name in look.folders
            and not self._is_newer(name, look)
            for name, seen in self._models.items()
        )

    def _put(self, name: str, seen: Seen) -> None:
        self._still = None
        with self._lock:
            if seen == NOTHING:
                self._models.pop(name, None)
            else:
                self._models[name] = seen
            _mark(self._unloading, name, _unloads(seen))
        _mark(self._suspects, name, seen.suspect)

    def _note(self, name: str, wall_s: float) -> None:
        """Keep since when a model is in its state."""
        target, seen, action = self.targets.get(name), self.seen(name), self.running.get(name)
        known = self._since.get(name)
        _mark(self._unattempted, name, target is not None and not attempted(target, seen))
        state = state_of(target, seen, action)
        _mark(self._unserved, name, target is not None and state not in ("Loaded", "Standby"))
        with self._lock:
            if target is None and action is None and (seen.installed is None or not seen.held):
                self._since.pop(name, None)
                return
            if known is None or known[0] != state:
                self._since[name] = (state, wall_s)


def _mark(names: set[str], name: str, is_in: bool) -> None:  # noqa: FBT001 - what it is called for
    if is_in:
        names.add(name)
    else:
        names.discard(name)


def _on_another_process(seen: Seen) -> Seen:
    """Return what is known of a model on a new server process: what the old one refused is forgotten."""
    # Of what nobody answered, or processes have died, another process says nothing.
    stays = seen.failure is not None and seen.failure.reason in (SERVER_UNREACHABLE, CRASHES_SERVER)
    # What was refused is tried again where the older copy serves; elsewhere that comes first.
    refused = seen.setback is not None and (seen.setback.state, seen.crashes) == ("FailedToLoad", 0)
    again = refused and seen.ready
    if seen.probation is None and (seen.failure is None or stays) and not again:
        return seen
    return replace(
        seen,
        failure=seen.failure if stays else None,
        setback=None if again else seen.setback,
        probation=None,
    )


def _is_sick(seen: Seen) -> bool:
    """Return whether a model leaves because it does not answer: its unload may never end."""
    return seen.failure is not None and seen.failure.reason == PROBE_FAILED


def _unloads(seen: Seen) -> bool:
    return seen.row is not None and seen.row.state == "UNLOADING"

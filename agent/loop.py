"""The loop: observe, decide, act; and again.

Three parts, each in a module of its own: `agent.lookout` looks at the server, `agent.ledger` knows every
model and has decided what follows for it (`agent.actions`), `agent.crew` carries that out. One thread
decides, here. Workers carry out actions and look, and report through an inbox that holds at most one message
a worker and one hint: nothing can overflow, and what is missed is seen at the next look.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from random import Random
from threading import Event
from typing import assert_never

from agent.actions import Action, Download
from agent.clock import Clock
from agent.crew import Crew, Finished, Retries
from agent.desired import ProbeKind
from agent.device_room import DeviceRoom
from agent.documents import Documents
from agent.lanes import Lanes, admit
from agent.ledger import Ledger
from agent.lookout import Looked, Lookout
from agent.observed import Seen
from agent.outcomes import (
    SERVER_UNREACHABLE,
    Failed,
    Outcome,
    UnloadAsked,
    after,
    blamed,
    not_answering,
    not_kept,
    tell,
)
from agent.pins import targets
from agent.repository import Repository
from agent.servers.port import ModelServer
from agent.settings import Settings
from agent.site import Site, find_fault
from agent.status import Snapshot, fetched
from agent.workers import Workers

log = logging.getLogger(__name__)

_STUCK_S = 120.0  # the loop's own steps take milliseconds
_DOCUMENTS_S = 60.0  # a kubelet mounts them before a container starts; a set may be half swapped


@dataclass(frozen=True, slots=True)
class _Hint:
    """The documents may have changed."""


@dataclass(frozen=True, slots=True)
class _Stop:
    """The agent should end."""


@dataclass(frozen=True, slots=True)
class _Faulty:
    """A loaded model does not answer."""

    name: str
    fault: str


_Message = _Faulty | _Hint | _Stop | Finished | Looked


@dataclass(slots=True)
class Loop:
    """One agent's loop.

    Parameters
    ----------
    settings, server, repository, documents
        What it works with.
    visible
        UUIDs of the devices that the server sees, in its order; None where nothing can say.
    room
        The devices' memory.
    count
        Told every action and what came of it.
    clock, random
        Time and chance.
    """

    settings: Settings
    server: ModelServer
    repository: Repository
    documents: Documents
    visible: tuple[str, ...] | None = None
    room: DeviceRoom = field(default_factory=DeviceRoom)
    count: Callable[[Action, Outcome], None] = lambda _action, _outcome: None
    clock: Clock = field(default_factory=Clock)
    random: Random = field(default_factory=Random)
    _ledger: Ledger = field(init=False)
    _lookout: Lookout = field(init=False)
    _crew: Crew = field(init=False)
    _retries: Retries = field(init=False)
    _inbox: SimpleQueue[_Message] = field(init=False, default_factory=SimpleQueue)
    _hinted: Event = field(init=False, default_factory=Event)
    _stopping: bool = field(init=False, default=False)
    _turned_at_s: float = field(init=False, default=0.0)
    _read_at_s: float = field(init=False, default=0.0)

    # ------------------------------------------------------------------------------------- from other threads

    def hint(self) -> None:
        """Say that the documents may have changed."""
        if not self._hinted.is_set():
            self._hinted.set()
            self._inbox.put(_Hint())

    def loaded(self) -> tuple[str, ...]:
        """Return the models that are loaded."""
        _, _, since = self._ledger.copies()
        return tuple(name for name, (state, _) in since.items() if state == "Loaded")

    def find_fault(self, name: str) -> str | None:
        """Return what is wrong with a loaded model."""
        return find_fault(name, self._site())

    def report_fault(self, name: str, fault: str) -> None:
        """Say that a loaded model does not answer; safe from any thread."""
        self._inbox.put(_Faulty(name, fault))

    def stop(self) -> None:
        """End the loop; safe in a signal handler."""
        self._inbox.put(_Stop())

    def alive(self) -> bool:
        """Return whether the loop turns."""
        return self.clock.monotonic() - self._turned_at_s < _STUCK_S

    def snapshot(self) -> Snapshot:
        """Return everything that the agent tells of itself."""
        models, running, since = self._ledger.copies()
        liveness, overdue = self._lookout.liveness, self._lookout.overdue_fault
        return Snapshot(
            desired=self.documents.desired,
            document_fault=self.documents.fault,
            targets=self._ledger.targets,
            models=models,
            running=running,
            since=since,
            observed_generation=liveness.attempted_generation,
            ready=liveness.ready and overdue is None,
            live=liveness.live and overdue is None,
            server=liveness.info,
            server_since=liveness.since_s,
            server_fault=liveness.fault or overdue,
            control=self.server.control,
            visible=self.visible,
            gone=liveness.gone or overdue is not None,
            freeing=self._ledger.freeing(self.clock.monotonic()),
        )

    def readiness(self) -> tuple[bool, str]:
        """Return whether traffic may come, and a sentence about it."""
        liveness, ledger = self._lookout.liveness, self._ledger
        if liveness.ready:
            fault = self._lookout.overdue_fault
            return fault is None, fault or "ready"
        if self.documents.desired is None:
            return False, f"no complete document yet: {self.documents.fault or 'none was read'}"
        fault = liveness.fault or "not asked yet"
        server = "" if liveness.live else f"; the server does not answer: {fault}"
        return False, f"{self._come} of {len(ledger.targets)} models {self.settings.ready_when}{server}"

    @property
    def _come(self) -> int:
        """How many of the desired models are what readiness waits for."""
        return self._ledger.attempted if self.settings.ready_when == "attempted" else self._ledger.served

    # ----------------------------------------------------------------------------------------------- the loop

    def prepare(self, *, server_absent: bool = False) -> None:
        """Take up what an earlier run left behind.

        Parameters
        ----------
        server_absent
            Whether there is certainly no server: then no load can be on its way, and nobody holds any file.

        Raises
        ------
        SettingsError
            The folders cannot be used.
        """
        self.repository.prepare()
        self.repository.recover()
        installed, staged = self.repository.installed(), self.repository.staged()
        former = self.repository.former()
        models = {
            name: Seen(
                installed=installed.get(name),
                staged=staged.get(name),
                former=former.get(name),
                unsure=name in installed and not server_absent,
            )
            for name in {*installed, *staged}
        }
        self._ledger = Ledger(models, server_absent=server_absent)
        self._hire()
        self.documents.recall()
        self._turned_at_s = self.clock.monotonic()
        self._aim()

    def _hire(self) -> None:
        """Begin the work of those who look and act, on threads of their own."""
        submit = Workers(self.settings.lanes.threads + 1).submit  # one looks
        self._crew = Crew(site=self._site, submit=submit, report=self._inbox.put)
        self._retries = Retries(settings=self.settings, random=self.random)
        self._lookout = Lookout(
            settings=self.settings,
            server=self.server,
            repository=self.repository,
            clock=self.clock,
            submit=submit,
            report=self._inbox.put,
        )

    def run(self) -> None:
        """Observe, decide, act until told to stop."""
        while not self._stopping:
            self._turn()
            self._wait()
        self._crew.leave()
        self.server.rest()

    def fetch(self, *, most_s: float) -> bool:
        """Get every model into the repository of a server that is not there yet (see `prepare`), and end.

        Parameters
        ----------
        most_s
            Seconds after which it ends with what is there.

        Returns
        -------
        bool
            Whether everything was had that can be had soon; not if time ran out or it was told to stop.
        """
        self._lookout.close()
        began_s = self.clock.monotonic()
        while not self._stopping:
            self._turn()
            if self._has_fetched():
                return True
            patience_s = min(most_s, _DOCUMENTS_S) if self.documents.desired is None else most_s
            self._wait(began_s + patience_s)
            if self.clock.monotonic() >= began_s + patience_s:
                break
        self._crew.leave()
        return False

    def _has_fetched(self) -> bool:
        ledger = self._ledger
        if self.documents.desired is None or ledger.running or len(ledger.waiting):
            return False
        return all(fetched(target, ledger.seen(name)) for name, target in ledger.targets.items())

    def _turn(self) -> None:
        now_s = self.clock.monotonic()
        self._turned_at_s = now_s
        if now_s >= self._read_at_s:
            self._read_at_s = now_s + self.settings.poll_s
            if self.documents.refresh():
                log.info(
                    "new documents",
                    extra={"models": len(self.documents.desired.models) if self.documents.desired else 0},
                )
                self._aim()
        self._lookout.look_when_due(now_s)
        for name in self._retries.take(now_s):
            self._ledger.decide(name, now_s=now_s)
        self._start_actions()
        if not self._ledger.running:
            self._settle()

    def _wait(self, until_s: float = math.inf) -> None:
        """Take over every message that has come, or wait for the first one until something is due."""
        now_s = self.clock.monotonic()
        due_at_s = min(self._read_at_s, until_s, self._lookout.due_at_s, self._retries.next_at_s)
        try:
            self._take(self._inbox.get(timeout=max(0.0, due_at_s - now_s)))
            while True:
                self._take(self._inbox.get_nowait())
        except Empty:
            return

    def _take(self, message: _Message) -> None:
        match message:
            case _Hint():
                self._hinted.clear()
                self._read_at_s = 0.0
            case _Stop():
                self._stopping = True
            case _Faulty(name=name, fault=fault):
                self._take_fault(name, fault)
            case Finished(action=action, outcome=outcome):
                self._finish(action, outcome)
            case Looked():
                self._take_look(message)
            case _:
                assert_never(message)

    # ----------------------------------------------------------------------------------------------- deciding

    def _aim(self) -> None:
        """Turn to what the documents ask for now; what is under way and not wanted any more is broken off."""
        desired = self.documents.desired
        if desired is None:
            return
        aims = targets(desired, visible=self.visible)
        self._ledger.aim(aims, now_s=self.clock.monotonic(), wall_s=self.clock.wall())
        for name, action in self._ledger.running.items():
            target = aims.get(name)
            if isinstance(action, Download) and (
                target is None or target.model.storage_uri != action.storage_uri
            ):
                self._crew.break_off(name)

    def _start_actions(self) -> None:
        if self.documents.desired is None:
            return  # nothing is known, which is not the same as nothing being desired
        ledger = self._ledger
        freeing = ledger.freeing(self.clock.monotonic())
        admitted = admit(ledger.waiting.queues, ledger.running.values(), lanes=self._lanes(), freeing=freeing)
        if not admitted:
            return
        ledger.waiting.take(admitted)
        for action in admitted:
            ledger.start(action, wall_s=self.clock.wall())
            self._crew.start(action)

    def _lanes(self) -> Lanes:
        """Return what may run side by side; some servers do one thing at a time."""
        lanes, most = self.settings.lanes, self.server.most_calls
        return lanes if most is None else replace(lanes, server=min(lanes.server, most))

    def _settle(self) -> None:
        """Note when everything was attempted, and when traffic may come."""
        desired = self.documents.desired
        if desired is None:
            return
        ledger = self._ledger
        if ledger.attempted == len(ledger.targets) and self._lookout.liveness.settle(desired.generation):
            log.info("every model was attempted", extra={"models": len(ledger.targets)})
        if self._come == len(ledger.targets) and self._lookout.liveness.open():
            log.info("ready", extra={"models": len(ledger.targets)})

    def _site(self) -> Site:
        return Site(
            repository=self.repository,
            server=self.server,
            room=self.room,
            seconds=self.clock.monotonic,
            probe=self._probe_of,
        )

    def _probe_of(self, name: str) -> ProbeKind:
        target = self._ledger.targets.get(name)
        return (target.model.probe if target else None) or self.settings.probe

    def _take_fault(self, name: str, fault: str) -> None:
        """Have a model that does not answer unloaded at once, and loaded again."""
        seen = self._ledger.seen(name)
        if not seen.ready or seen.failure is not None or name in self._ledger.running:
            return
        log.warning("a loaded model does not answer", extra={"model": name, "error": fault})
        now_s = self.clock.monotonic()
        sick = after(seen, not_answering(fault), now_s=now_s, wait_s=0.0)
        self._ledger.finish(name, sick, now_s=now_s, wall_s=self.clock.wall())

    def _finish(self, action: Action, outcome: Outcome) -> None:
        now_s = self.clock.monotonic()
        self._crew.end(action.name)
        self.count(action, outcome)
        self._conclude(action.name, outcome, now_s=now_s)
        tell(action, outcome)
        if isinstance(outcome, Failed) and outcome.reason == SERVER_UNREACHABLE:
            self._ledger.lose_server(now_s=now_s)
            self._lookout.look_by(now_s)
        if self._ledger.unloading(now_s):
            self._lookout.look_by(now_s + self.settings.settle_s)

    def _conclude(self, name: str, outcome: Outcome, *, now_s: float) -> None:
        """Note what came of an action, and when to try again if it failed."""
        before = self._ledger.seen(name)
        seen = after(before, outcome, now_s=now_s, wait_s=self._retries.wait_s(before, outcome))
        self._ledger.finish(name, seen, now_s=now_s, wall_s=self.clock.wall())
        if isinstance(outcome, Failed | UnloadAsked):
            self._retries.note(name, seen, now_s=now_s)

    def _blame(self, *, now_s: float) -> None:
        """Note that the server has died, perhaps of the loads during which the connection broke."""
        for name in self._ledger.suspects():
            log.warning("the server has died during the load of a model", extra={"model": name})
            wait_s = self.settings.dead_end.wait_s(1, self.random)
            seen = blamed(self._ledger.seen(name), now_s=now_s, wait_s=wait_s)
            self._ledger.finish(name, seen, now_s=now_s, wall_s=self.clock.wall())
            self._retries.note(name, seen, now_s=now_s)

    def _take_look(self, looked: Looked) -> None:
        self._lookout.end()
        found, info = looked.found, looked.info
        now_s, wall_s = self.clock.monotonic(), self.clock.wall()
        if isinstance(found, str):
            absence = self._lookout.miss(found, nobody=looked.nobody)
            self._ledger.lose_server(now_s=now_s, absence=absence)
            if looked.nobody:
                self._blame(now_s=now_s)
            return
        lost = self._ledger.lost(found)
        restarted = self._ledger.look(found, now_s=now_s, wall_s=wall_s)
        for name, row in () if restarted else lost.items():
            self._conclude(name, not_kept(row), now_s=now_s)
            log.warning("the server did not keep a model", extra={"model": name, "error": row.reason})
        if restarted:
            self._blame(now_s=now_s)
        else:
            self._ledger.acquit(found)
        self._lookout.answer(info, restarted=restarted, unloading=self._ledger.unloading(now_s))
        self._settle()
        if not self._ledger.running:
            self.server.rest()

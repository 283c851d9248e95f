"""Act: actions carried out side by side, and when those that failed are tried again."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from threading import Event

from agent.actions import Action
from agent.observed import Seen
from agent.outcomes import Failed, Outcome, failed_tries
from agent.settings import Settings
from agent.site import Site, carry_out, unexpected

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """An action, and what came of it."""

    action: Action
    outcome: Outcome


@dataclass(slots=True, kw_only=True)
class Crew:
    """Whoever carries out actions.

    Parameters
    ----------
    site
        Where; asked before every action.
    submit
        Has a task carried out on another thread.
    report
        Told what came of an action, on that thread.
    """

    site: Callable[[], Site]
    submit: Callable[[Callable[[], None]], None]
    report: Callable[[Finished], None]
    _unwanted: dict[str, Event] = field(init=False, default_factory=dict)

    def start(self, action: Action) -> None:
        """Have an action carried out; one at a time of a model."""
        self._unwanted[action.name] = Event()
        self.submit(lambda: self._act(action))

    def end(self, name: str) -> None:
        """Note that a model's action has been reported."""
        self._unwanted.pop(name, None)

    def break_off(self, *names: str) -> None:
        """Have the downloads of models end early."""
        for name in names:
            self._unwanted[name].set()

    def leave(self) -> None:
        """Have all downloads end early."""
        self.break_off(*self._unwanted)

    def _act(self, action: Action) -> None:
        """Carry out one action on a worker's thread."""
        try:
            outcome = carry_out(action, self.site(), unwanted=self._unwanted[action.name].is_set)
        except Exception as error:  # a fault of ours must not stop the other models
            log.exception("an action ended in an error that nobody expected", extra={"model": action.name})
            outcome = unexpected(action, error, self.site())
        self.report(Finished(action, outcome))


@dataclass(slots=True, kw_only=True)
class Retries:
    """When what failed is tried again.

    Parameters
    ----------
    settings
        How long is waited after which failure.
    random
        The chance in it.
    """

    settings: Settings
    random: Random
    _due: list[tuple[float, str]] = field(init=False, default_factory=list)

    @property
    def next_at_s(self) -> float:
        """When the next is due; infinite where none is."""
        return self._due[0][0] if self._due else math.inf

    def wait_s(self, before: Seen, outcome: Outcome) -> float:
        """Return how long to wait after an action; 0 where it has not failed.

        Parameters
        ----------
        before
            What was known of the model before the action.
        outcome
            What came of it.
        """
        if not isinstance(outcome, Failed):
            return 0.0
        attempts = failed_tries(before, outcome.state, update=outcome.update) + 1
        settings = self.settings
        backoffs = {"soon": settings.stumble, "late": settings.refusal, "rarely": settings.dead_end}
        return backoffs[outcome.retry].wait_s(attempts, self.random)

    def note(self, name: str, seen: Seen, *, now_s: float) -> None:
        """Keep in mind when a model is to be decided anew."""
        for failure in (seen.failure, seen.setback):
            if failure is not None and failure.retry_at_s > now_s:
                heapq.heappush(self._due, (failure.retry_at_s, name))

    def take(self, now_s: float) -> Iterator[str]:
        """Take out, one after the other, the models that are due."""
        while self._due and self._due[0][0] <= now_s:
            _, name = heapq.heappop(self._due)
            yield name

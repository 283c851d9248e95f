"""Whether the server answers, which process of it is there, and whether its models were attempted."""

from __future__ import annotations

from dataclasses import dataclass

from agent.observed import Absence
from agent.servers.port import ServerInfo

_UNANSWERED = 3
"""Looks in a row without an answer before the server counts as gone: one may be late on a busy machine."""


@dataclass(slots=True)
class Liveness:
    """What the looks at the server have shown.

    Parameters
    ----------
    info
        Kind and version; None until it was asked.
    since_s
        When this process of the server was first seen, seconds since the epoch.
    unanswered, fault
        Looks in a row without an answer, and what the last of them met; None after an answer.
    refused, refused_since_s
        Looks in a row that found nobody on the server's port, and when the first of them came back.
    attempted_generation
        The last generation of which every model was attempted, on this process or one before.
    settled
        Whether every model of some generation was attempted on this process.
    opened
        Whether so many of them were what is waited for that traffic may come to this process.
    asked_at_s
        When the look began that is under way, seconds of a clock that only runs forward; None where none is.
    """

    info: ServerInfo | None = None
    since_s: float | None = None
    unanswered: int = _UNANSWERED
    refused: int = 0
    refused_since_s: float = 0.0
    fault: str | None = None
    attempted_generation: str | None = None
    settled: bool = False
    opened: bool = False
    asked_at_s: float | None = None

    def silence_s(self, now_s: float) -> float:
        """Return for how long a look has been under way; 0 where none is."""
        asked_at_s = self.asked_at_s  # the loop's thread sets it meanwhile
        return 0.0 if asked_at_s is None else now_s - asked_at_s

    @property
    def live(self) -> bool:
        """Whether the last look was answered."""
        return self.unanswered == 0

    @property
    def gone(self) -> bool:
        """Whether it has not answered for several looks."""
        return self.unanswered >= _UNANSWERED

    @property
    def ready(self) -> bool:
        """Whether traffic may come."""
        return self.opened and not self.gone

    def absence(self, now_s: float, *, longest_start_s: float) -> Absence:
        """Return what the looks say of a server that is not there."""
        if self.refused == 0:
            return Absence.UNKNOWN
        if now_s - self.refused_since_s >= longest_start_s:
            return Absence.ENDLESS
        return Absence.LASTING if self.refused >= _UNANSWERED else Absence.SEEN

    def miss(self, fault: str, *, nobody_at_s: float | None = None) -> bool:
        """Note a look without an answer; return whether it is news that the server is gone.

        Parameters
        ----------
        fault
            What it met.
        nobody_at_s
            When it came back, if what it met is that nobody listens on the server's port; else None.
        """
        if nobody_at_s is None:
            self.refused = 0
        else:
            self.refused_since_s = self.refused_since_s if self.refused else nobody_at_s
            self.refused += 1
        first = self.fault is None and self.since_s is None
        self.unanswered += 1
        self.fault = fault
        self.info = None
        return first or self.unanswered == _UNANSWERED

    def answer(self, info: ServerInfo | None, *, restarted: bool, wall_s: float) -> bool:
        """Note an answered look; return whether it is another process that answers."""
        another = self.gone or restarted
        if another:
            self.since_s = wall_s
            self.settled = self.opened = False
        self.unanswered = self.refused = 0
        self.fault = None
        # What another process is, the next look asks.
        self.info = None if restarted else info
        return another

    def settle(self, generation: str) -> bool:
        """Note that every model of a generation was attempted; return whether that is news."""
        if not self.live or (self.settled and self.attempted_generation == generation):
            return False
        self.settled = True
        self.attempted_generation = generation
        return True

    def open(self) -> bool:
        """Note that what is waited for is there; return whether that is news."""
        if not self.live or self.opened:
            return False
        self.opened = True
        return True

"""Observe: looks at the server and the repository, when they are due, and what they say of the server."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.clock import Clock
from agent.errors import NobodyListensError, ServerError
from agent.ledger import Look
from agent.liveness import Liveness
from agent.observed import Absence
from agent.repository import Repository
from agent.servers.port import ModelServer, ServerInfo
from agent.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What came of a look.

    Parameters
    ----------
    found
        What was seen, or why nothing was.
    nobody
        Whether nothing was because nobody listens on the server's port.
    info
        Kind and version of the server; None where it was not asked.
    """

    found: Look | str
    info: ServerInfo | None
    nobody: bool = False


@dataclass(slots=True, kw_only=True)
class Lookout:
    """Looks at the server again and again, one look at a time.

    Parameters
    ----------
    settings, server, repository, clock
        What it looks at, and how often.
    submit
        Has a task carried out on another thread.
    report
        Told what came of a look, on that thread.
    liveness
        What the looks have shown of the server.
    """

    settings: Settings
    server: ModelServer
    repository: Repository
    clock: Clock
    submit: Callable[[Callable[[], None]], None]
    report: Callable[[Looked], None]
    liveness: Liveness = field(default_factory=Liveness)
    _due_at_s: float = field(init=False, default=0.0)
    _looks: bool = field(init=False, default=False)

    @property
    def due_at_s(self) -> float:
        """When the next look begins; infinite while one is under way."""
        return math.inf if self._looks else self._due_at_s

    @property
    def overdue_fault(self) -> str | None:
        """What there is to say of a look that has not come back for far too long; None where none is."""
        seconds = self.liveness.silence_s(self.clock.monotonic())
        # Where a server does one thing at a time, a look waits until that is done.
        timeouts = self.settings.timeouts
        busy_s = 0.0 if self.server.most_calls is None else timeouts.load_s + timeouts.unload_s
        overdue = seconds > self.settings.patience_s + busy_s
        return f"a look at the server has not ended for {seconds:.0f} s" if overdue else None

    def close(self) -> None:
        """Never look: there is no server."""
        self._due_at_s = math.inf

    def look_when_due(self, now_s: float) -> None:
        """Begin a look if it is time."""
        if now_s >= self.due_at_s:
            self._looks = True
            self.liveness.asked_at_s = now_s
            self.submit(self._look)

    def look_by(self, at_s: float) -> None:
        """Look at a moment at the latest."""
        self._due_at_s = min(self._due_at_s, at_s)

    def end(self) -> None:
        """Note that a look has come back."""
        self._looks, self.liveness.asked_at_s = False, None

    def answer(self, info: ServerInfo | None, *, restarted: bool, unloading: bool) -> None:
        """Note that a look was answered, and look again soon if an unload is awaited.

        Parameters
        ----------
        info
            Kind and version of the server.
        restarted
            Whether it is another process than before.
        unloading
            Whether an unload is awaited.
        """
        if self.liveness.answer(info, restarted=restarted, wall_s=self.clock.wall()):
            log.info("a server process is there", extra={"server": info.kind if info else None})
        wait_s = self.settings.settle_s if unloading else self.settings.poll_s
        self._due_at_s = self.clock.monotonic() + wait_s

    def miss(self, fault: str, *, nobody: bool) -> Absence:
        """Note that a look was not answered and why, and look again soon; return whether a server is absent.

        Every model waits for the server that starts; a look that is refused costs next to nothing.
        """
        now_s = self.clock.monotonic()
        if self.liveness.miss(fault, nobody_at_s=now_s if nobody else None):
            log.warning("the server does not answer", extra={"error": fault})
        wait_s = min(self.settings.poll_s, self.settings.settle_s * 2 ** min(self.liveness.unanswered, 2))
        self._due_at_s = now_s + wait_s
        return self.liveness.absence(now_s, longest_start_s=self.settings.timeouts.load_s)

    def _look(self) -> None:
        """Look at the server and the repository on a worker's thread."""
        began_s = self.clock.monotonic()
        info = self.liveness.info
        nobody = False
        try:
            if info is None:
                info = self.server.info()
            found: Look | str = Look(
                rows=self.server.index(), folders=self.repository.installed_names(), began_s=began_s
            )
        except (ServerError, OSError) as error:
            found, nobody = str(error), isinstance(error, NobodyListensError)
        except Exception as error:  # a fault of ours must not stop the agent: it goes on and says so
            log.exception("a look at the server ended in an error that nobody expected")
            found = repr(error)
        self.report(Looked(found=found, info=info, nobody=nobody))

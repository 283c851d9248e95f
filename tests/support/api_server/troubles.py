"""What tests do to the server: errors, delays, lost answers, broken watches. And what they count."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from tests.support.api_server.access import Deed
from tests.support.api_server.refusals import RefusalError

Kind = Literal["answer", "delay", "hang up", "lose the answer"]


@dataclass(kw_only=True)
class Trouble:
    """One kind of trouble, for the requests that it is meant for.

    Parameters
    ----------
    kind
        ``answer``: answer ``code`` and do nothing. ``delay``: wait first. ``hang up``: close the connection
        and do nothing. ``lose the answer``: do it, then close the connection.
    verbs, resources
        As in RBAC (``pods/status`` for a subresource); empty for all.
    matches
        Which of them; None for all.
    times
        How many requests; None for all until it is taken away.
    every
        Only each so-manieth request that it is meant for.
    """

    kind: Kind
    code: int = 500
    reason: str = "InternalError"
    retry_after_s: int | None = None
    delay_s: float = 0.0
    verbs: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    matches: Callable[[Deed], bool] | None = None
    times: int | None = None
    every: int = 1
    met: int = 0

    def is_for(self, deed: Deed) -> bool:
        return (
            (not self.verbs or deed.verb in self.verbs)
            and (not self.resources or deed.resource in self.resources)
            and (self.matches is None or self.matches(deed))
        )


class HungUpError(Exception):
    """The connection is to be closed without an answer."""


class Troubles:
    """The troubles there are, and counts of what was asked and written."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._troubles: list[Trouble] = []
        self.requests: Counter[Deed] = Counter()
        self.writes: Counter[Deed] = Counter()
        """Only what changed something; a write that changed nothing is in ``requests`` alone."""

    def add(self, trouble: Trouble) -> Trouble:
        with self._lock:
            self._troubles.append(trouble)
        return trouble

    def remove(self, trouble: Trouble) -> None:
        with self._lock:
            self._troubles.remove(trouble)

    def clear(self) -> None:
        with self._lock:
            self._troubles.clear()

    def reset_counts(self) -> None:
        with self._lock:
            self.requests.clear()
            self.writes.clear()

    def meet(self, deed: Deed) -> bool:
        """Let a request meet its troubles; return whether its answer is to be lost.

        Raises
        ------
        RefusalError, HungUpError
            It is not carried out.
        """
        with self._lock:
            self.requests[deed] += 1
            met = [trouble for trouble in self._troubles if self._strikes(trouble, deed)]
        for trouble in met:
            match trouble.kind:
                case "delay":
                    time.sleep(trouble.delay_s)
                case "answer":
                    text = f"trouble: {trouble.reason}"
                    raise RefusalError(
                        trouble.code, trouble.reason, text, retry_after_s=trouble.retry_after_s
                    )
                case "hang up":
                    raise HungUpError
        return any(trouble.kind == "lose the answer" for trouble in met)

    @staticmethod
    def _strikes(trouble: Trouble, deed: Deed) -> bool:
        if not trouble.is_for(deed) or trouble.times == 0:
            return False
        trouble.met += 1
        if trouble.met % trouble.every:
            return False
        if trouble.times is not None:
            trouble.times -= 1
        return True

    def wrote(self, deed: Deed) -> None:
        with self._lock:
            self.writes[deed] += 1

    def writes_of(self, resource: str, *, name: str | None = None) -> int:
        """How often objects of a resource (``pods/status`` for a subresource) were written."""
        with self._lock:
            return sum(
                count
                for deed, count in self.writes.items()
                if deed.resource == resource and name in (None, deed.name)
            )

"""Asks the agents of shards how far their models are, and gateways how far their routes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import urllib3

from planner.controller.views import PodView
from planner.manifests.pod import STATUS_PORT

_log = logging.getLogger(__name__)
Status = dict[str, Any]
"""The status document of an agent or a gateway."""

_PAGE = 2_000
"""Models a page of an agent's status."""

_MOST_PAGES = 100
"""Of one status: 200,000 models. A pod that never ends its own would hold a thread for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """How often an agent is asked, in seconds: while something is on its way, and otherwise."""

    busy_s: float = 2.0
    idle_s: float = 30.0
    timeout_s: float = 5.0


class Asker:
    """Asks pods in threads of its own, each at most once at a time.

    Parameters
    ----------
    rounds
        How often.
    heard
        Called in those threads with the pod and the status that it answers, its pages put together; it may
        raise ``ValueError``, ``TypeError``, ``KeyError`` or ``AttributeError`` where that is none.
    threads
        How many are asked at a time.
    """

    def __init__(self, rounds: Rounds, *, heard: Callable[[PodView, Status], None], threads: int = 8) -> None:
        self._rounds, self._heard = rounds, heard
        self._http = urllib3.PoolManager(maxsize=4, num_pools=64, retries=False)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ask")
        self._due: dict[str, float] = {}
        self._asked: set[str] = set()

    def go_round(
        self, pods: Iterable[PodView], now: float, *, busy: Callable[[PodView], bool]
    ) -> float | None:
        """Ask every pod whose time has come; returns when the next one's has.

        Parameters
        ----------
        pods
            All that there are.
        now
            Seconds, monotonic.
        busy
            Whether a pod is soon to say something new.
        """
        there = {pod.name: pod for pod in pods if _tells(pod) and not pod.deleting}
        self._due = {name: self._due.get(name, now) for name in there}
        for name, pod in there.items():
            if self._due[name] <= now:
                self._due[name] = now + (self._rounds.busy_s if busy(pod) else self._rounds.idle_s)
                if name not in self._asked:
                    self._asked.add(name)
                    self._threads.submit(self._ask, pod)
        return min(self._due.values(), default=None)

    def stop(self) -> None:
        """Ask nobody any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._http.clear()

    def _ask(self, pod: PodView) -> None:
        try:
            self._heard(pod, self.status_of(pod))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            _log.debug("the agent of pod %s does not answer: %s", pod.name, error)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.warning("what pod %s answers on port %d is no status: %s", pod.name, STATUS_PORT, error)
        finally:
            self._asked.discard(pod.name)

    def status_of(self, pod: PodView) -> Status:
        """Return what a pod answers now, its pages put together.

        Raises
        ------
        urllib3.exceptions.HTTPError, OSError
            It does not answer.
        ValueError, TypeError, KeyError, AttributeError
            What it answers is no status.
        """
        url = f"http://{_host(pod.address or '')}:{STATUS_PORT}/status?limit={_PAGE}"
        status = page = self._page(url)
        for _ in range(_MOST_PAGES):
            if page.get("continue") is None:
                return status
            page = self._page(f"{url}&continue={quote(str(page['continue']))}")
            status["models"].update(page["models"])
        raise ValueError(f"more than {_MOST_PAGES} pages")

    def _page(self, url: str) -> Status:
        answer = self._http.request("GET", url, timeout=self._rounds.timeout_s)
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
        return dict(json.loads(answer.data))


def _tells(pod: PodView) -> bool:
    """Return whether a pod has a status of ours to tell; a transformer's, for one, has none."""
    return pod.address is not None and bool(pod.shard or pod.gateway)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address

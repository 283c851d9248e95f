"""Carries writes out, several at a time, and says what came of each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from planner.cluster import Kube, Resource
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    POD_DISRUPTION_BUDGETS,
    SERVICES,
    TRAINED_MODELS,
)
from planner.controller.engine import Miss
from planner.controller.writes import Kind, Write
from planner.errors import ClusterError, ConflictError, NotFoundError, NotLeadingError

_log = logging.getLogger(__name__)

RESOURCES: Mapping[Kind, Resource] = {
    "TrainedModel": TRAINED_MODELS,
    "ConfigMap": CONFIG_MAPS,
    "InferenceService": INFERENCE_SERVICES,
    "Deployment": DEPLOYMENTS,
    "Service": SERVICES,
    "PodDisruptionBudget": POD_DISRUPTION_BUDGETS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a write.

    Parameters
    ----------
    write
        Which.
    item
        The object as it is now; None if it is gone or not known.
    miss
        Why it was not done; None if it was.
    """

    write: Write
    item: dict[str, Any] | None
    miss: Miss | None = None


class Executor:
    """Sends writes through a client.

    Parameters
    ----------
    kube
        The client; its guard refuses what a process that does not lead would write.
    namespace
        Of all objects.
    threads
        Writes at a time.
    """

    def __init__(self, kube: Kube, *, namespace: str, threads: int = 8) -> None:
        self._kube, self._namespace = kube, namespace
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="write")

    def carry_out(self, writes: Iterable[Write]) -> Iterator[Answer]:
        """Yield what came of each write, in their order."""
        yield from self._threads.map(self._one, writes)

    def stop(self) -> None:
        """Wait for what is under way, and end."""
        self._threads.shutdown(cancel_futures=True)

    def _one(self, write: Write) -> Answer:
        try:
            return Answer(write=write, item=self._send(write))
        except NotFoundError as error:
            if write.verb != "create":
                return Answer(write=write, item=None, miss="gone")
            return self._failed(write, error)
        except ConflictError as error:
            _log.debug("%s %s %s: %s", write.verb, write.kind, write.name, error)
            return Answer(write=write, item=self._as_it_is(write), miss="conflict")
        except NotLeadingError:
            return Answer(write=write, item=None, miss="failed")
        except ClusterError as error:
            return self._failed(write, error)

    def _failed(self, write: Write, error: ClusterError) -> Answer:
        _log.warning(
            "%s %s %s was not done, and is tried again: %s", write.verb, write.kind, write.name, error
        )
        return Answer(write=write, item=None, miss="failed")

    def _send(self, write: Write) -> dict[str, Any] | None:
        resource, namespace = RESOURCES[write.kind], self._namespace
        if write.verb == "create":
            return self._kube.create(resource, dict(write.body))
        if write.verb == "patch":
            subresource = "status" if write.status else None
            return self._kube.patch(
                resource, write.name, dict(write.body), namespace=namespace, subresource=subresource
            )
        if write.verb == "rewrite":
            return self._kube.patch(resource, write.name, write.body["operations"], namespace=namespace)
        conditions = write.body["preconditions"]
        self._kube.delete(
            resource,
            write.name,
            namespace=namespace,
            uid=conditions["uid"],
            resource_version=conditions["resourceVersion"],
        )
        return None

    def _as_it_is(self, write: Write) -> dict[str, Any] | None:
        """Return the object that somebody else was faster with; None where that cannot be known now."""
        try:
            return self._kube.get(RESOURCES[write.kind], write.name, namespace=self._namespace)
        except ClusterError:
            return None

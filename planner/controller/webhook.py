"""The validating webhook as a process: watches, one thread that owns the plan, and HTTPS in front of it.

It runs beside the controller, not in it: every replica answers, whoever leads; what strangers send meets a
process that may write nothing; and a storm of questions takes no time from the one that places models.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TimedOutError
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from planner.cluster import Change, Kube, Resource, Watcher
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    NODES,
    TRAINED_MODELS,
)
from planner.controller.admission import (
    Answer,
    Request,
    ReviewError,
    concerns_us,
    judged,
    passed,
    read_review,
)
from planner.controller.fitting import Verdict
from planner.controller.following import MOST_REPLICAS, Follower
from planner.controller.https import Certificates, HttpsServer, Refusal
from planner.controller.objects import Style
from planner.controller.serving import Endpoints

_log = logging.getLogger(__name__)

PATH = "/validate-trainedmodels"

_PIECE = 50
"""Models that are followed between two questions: a few milliseconds."""
_CHANGES = 20
"""Changes that are taken in between two questions; a document of 7,000 models takes 50 ms to read."""
_ROUND_S = 1.0
_DEAD_AFTER_S = 120.0
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

OUTCOMES = ("allowed", "refused", "passed", "unjudged", "unreadable")
"""Of reviews, as they are counted."""

_Question = tuple[Request, "Future[Verdict | str]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """How the webhook runs.

    Parameters
    ----------
    namespace
        Whose TrainedModels are judged.
    certificate, key
        Files of PEM, read again when they change.
    style
        As the controller has it.
    only_warn
        Whether what does not fit is let through with a warning.
    patience_s
        After so long a request is let through; less than the ``timeoutSeconds`` of its configuration.
    nodes
        Whether nodes are watched, which takes a ClusterRole.
    address, port
        Where it is asked; port 0 takes a free one.
    status_address, status_port
        Where ``/livez``, ``/readyz`` and ``/metrics`` are.
    """

    namespace: str
    certificate: Path
    key: Path
    style: Style = field(default_factory=Style)
    only_warn: bool = False
    patience_s: float = 2.0
    nodes: bool = True
    address: str = "127.0.0.1"
    port: int = 9443
    status_address: str = "127.0.0.1"
    status_port: int = 9083


class Webhook:
    """Runs from ``run`` to ``stop``.

    Parameters
    ----------
    kube
        The client; nothing is written with it.
    settings
        How it runs.

    Raises
    ------
    InputError
        The certificate cannot be read.
    """

    def __init__(self, kube: Kube, settings: WebhookSettings) -> None:
        self._settings = settings
        self._questions: deque[_Question] = deque()
        self._changes: deque[Change] = deque()
        self._wake, self._stop, self._ready = Flag(), Flag(), Flag()
        self._alive_s = time.monotonic()
        self._follower = Follower(settings.namespace, style=settings.style)
        self._watchers = [
            Watcher(kube, resource, on_change=self._changed, namespace=where)
            for resource, where in _sources(settings).items()
        ]
        self.metrics = WebhookMetrics()
        self.https = HttpsServer(
            settings.address,
            settings.port,
            certificates=Certificates(settings.certificate, settings.key),
            path=PATH,
            answer=self._answer,
        )
        self.endpoints = Endpoints(
            settings.status_address,
            settings.status_port,
            registry=self.metrics.registry,
            live=self._what_is_dead,
            ready=self._what_is_missing,
        )

    def run(self) -> None:
        """Run until ``stop`` is called, from another thread or a signal's handler."""
        for server in (self.endpoints, self.https):
            server.start()
        for watcher in self._watchers:
            watcher.start()
        try:
            while not self._stop.is_set():
                self._turn()
        finally:
            for server in (self.https, self.endpoints):
                server.stop()
            for watcher in self._watchers:
                watcher.stop()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        self._wake.set()

    # ------------------------------------------------------------------------------- the thread of the plan

    def _turn(self) -> None:
        """Answer what was asked, then follow a little; wait if there was nothing to do."""
        self._alive_s = time.monotonic()
        self._wake.clear()
        synced = all(watcher.synced.is_set() for watcher in self._watchers)
        news = bool(self._changes) or not self._ready.is_set()
        while self._questions:
            request, future = self._questions.popleft()
            if future.set_running_or_notify_cancel():
                future.set_result(self._judge(request))
        for _ in range(min(_CHANGES, len(self._changes))):
            self._take_in(self._changes.popleft())
        left = synced and self._follower.catch_up(_PIECE)
        if synced and not left and not self._changes:
            self._ready.set()
            if news:
                self.metrics.models.set(sum(len(list(plan.models())) for plan in self._follower.plans))
            self._wake.wait(_ROUND_S)
        elif not synced and not self._changes:
            self._wake.wait(_ROUND_S / 10)

    def _take_in(self, change: Change) -> None:
        kind = change.resource.kind
        if change.kind == "deleted":
            self._follower.lose(kind, change.key.name, change.object["metadata"].get("uid", ""))
        else:
            self._follower.see(kind, change.object)

    def _judge(self, request: Request) -> Verdict | str:
        """Return the verdict, or why there is none: an empty reason is worth no warning."""
        assert request.item is not None
        try:
            if not self._follower.is_new(request.item, request.before):
                return ""
            verdict = self._follower.judge(request.item)
        except Exception:  # noqa: BLE001 - the last resort
            # A mistake of ours blocks nobody; what it has left of the plan is not trusted any more.
            _log.exception("model %s cannot be judged", request.item["metadata"]["name"])
            self._begin_anew()
            return "it was not judged: an error inside of the webhook"
        return verdict or f"it was not judged: it asks for more than {MOST_REPLICAS} replicas"

    def _begin_anew(self) -> None:
        self._follower = Follower(self._settings.namespace, style=self._settings.style)
        for watcher in self._watchers:
            for item in watcher.snapshot().values():
                self._follower.see(watcher.resource.kind, item)

    # ------------------------------------------------------------------------------------ threads of requests

    def _answer(self, body: bytes) -> bytes:
        begin = time.perf_counter()
        try:
            request = read_review(body)
        except ReviewError as error:
            self.metrics.reviews.labels("unreadable").inc()
            raise Refusal(400, str(error)) from None
        answer, outcome = self._answered(request)
        self.metrics.reviews.labels(outcome).inc()
        self.metrics.seconds.observe(time.perf_counter() - begin)
        return json.dumps(answer, separators=(",", ":")).encode()

    def _answered(self, request: Request) -> tuple[Answer, str]:
        if not concerns_us(request, self._settings.namespace):
            return passed(request), "passed"
        verdict = self._ask(request)
        name = request.item["metadata"]["name"] if request.item else ""
        if isinstance(verdict, str):
            warning = f"model {name}: {verdict}" if verdict else None
            return passed(request, warning=warning), "unjudged" if verdict else "passed"
        answer = judged(request, verdict, only_warn=self._settings.only_warn)
        if answer["response"]["allowed"]:
            return answer, "allowed" if verdict.is_ours else "passed"
        _log.info("refused: model %s: %s", name, verdict.refusal)
        return answer, "refused"

    def _ask(self, request: Request) -> Verdict | str:
        if not self._ready.is_set():
            return "it was not judged: the cluster is not read yet"
        future: Future[Verdict | str] = Future()
        self._questions.append((request, future))
        self._wake.set()
        try:
            return future.result(timeout=self._settings.patience_s)
        except TimedOutError:
            future.cancel()
            return f"it was not judged within {self._settings.patience_s:g} s"

    # ------------------------------------------------------------------------------------------------ probes

    def _changed(self, change: Change) -> None:
        self._changes.append(change)
        self._wake.set()

    def _what_is_dead(self) -> str | None:
        for watcher in self._watchers:
            if not watcher.alive:
                return f"{watcher.resource.plural} are not watched any more"
        silent_s = time.monotonic() - self._alive_s
        return f"nothing was judged for {silent_s:.0f} s" if silent_s > _DEAD_AFTER_S else None

    def _what_is_missing(self) -> str | None:
        return None if self._ready.is_set() else "the cluster is not read yet"


class WebhookMetrics:
    """What the webhook counts for Prometheus, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reviews = Counter(
            "shardpack_webhook_reviews_total",
            "AdmissionReviews: allowed, refused, passed (none of its business), unjudged or unreadable.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in OUTCOMES:
            self.reviews.labels(outcome)
        self.seconds = Histogram(
            "shardpack_webhook_review_seconds",
            "Time of one review, waiting included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.models = Gauge("shardpack_webhook_models", "Models that it counts with.", registry=self.registry)


def _sources(settings: WebhookSettings) -> dict[Resource, str | None]:
    """Return what is watched, each with the namespace."""
    standalone, fronted = settings.style.mode == "standalone", settings.style.options.gateway == "nginx"
    servers = [] if standalone else [INFERENCE_SERVICES]
    servers += [DEPLOYMENTS] if standalone or fronted else []  # transformers' too
    found: dict[Resource, str | None] = dict.fromkeys(
        (TRAINED_MODELS, CONFIG_MAPS, *servers), settings.namespace
    )
    if settings.nodes:
        found[NODES] = None
    return found

"""AdmissionReviews of TrainedModels (``admission.k8s.io/v1``): read, and answered from a verdict. Pure.

Whoever sends one is the API server, or anybody who reaches the port: nothing in it is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.controller.fitting import Verdict, is_trained_model, place_sentence
from planner.controller.views import Object

API_VERSION, KIND = "admission.k8s.io/v1", "AdmissionReview"
_OPERATIONS = ("CREATE", "UPDATE")
_METADATA = ("name", "namespace", "labels", "annotations", "deletionTimestamp")

_LONGEST_MESSAGE = 2_000
"""Characters of a refusal: kubectl prints it as one line."""
_LONGEST_WARNING = 250
"""Characters: API servers cut warnings above 256 off when they are many."""
_MOST_WARNINGS = 8
_LONGEST_UID = 128

Answer = dict[str, Any]
"""An AdmissionReview with a response."""


class ReviewError(ValueError):
    """What was sent is no AdmissionReview of version 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an API server asks about.

    Parameters
    ----------
    uid
        Of the request: its answer says it again.
    namespace, operation, subresource
        What is to be done, and where; the subresource is empty for the object itself.
    item, before
        The object as it is to be and as it is; None where there is none, or none that is a TrainedModel.
    dry_run
        Whether nothing will be stored.
    """

    uid: str
    namespace: str
    operation: str
    subresource: str
    item: Object | None
    before: Object | None
    dry_run: bool


def read_review(body: bytes) -> Request:
    """Return the request of an AdmissionReview.

    Raises
    ------
    ReviewError
        It is none, or of another version.
    """
    try:
        review = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ReviewError(f"not JSON: {error}") from None
    if not isinstance(review, dict) or (review.get("apiVersion"), review.get("kind")) != (API_VERSION, KIND):
        raise ReviewError(f"not an {KIND} of {API_VERSION}")
    asked = review.get("request")
    uid = asked.get("uid") if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or not isinstance(uid, str) or not 0 < len(uid) <= _LONGEST_UID:
        raise ReviewError("request.uid is missing")
    return Request(
        uid=uid,
        namespace=str(asked.get("namespace") or ""),
        operation=str(asked.get("operation") or ""),
        subresource=str(asked.get("subResource") or ""),
        item=_model(asked.get("object"), asked.get("name")),
        before=_model(asked.get("oldObject"), asked.get("name")),
        dry_run=asked.get("dryRun") is True,
    )


def _model(item: Any, name: Any) -> Object | None:
    """Return what of a TrainedModel counts; None where it cannot be looked at.

    One whose name the server will make up gets one here.
    """
    if not isinstance(item, dict) or not isinstance(item.get("metadata"), dict):
        return None
    metadata = {key: item["metadata"].get(key) for key in _METADATA}
    metadata["name"] = metadata["name"] or name or f"{item['metadata'].get('generateName', '')}new"
    found = {**{key: item.get(key) for key in ("apiVersion", "kind")}, "metadata": metadata}
    return {**found, "spec": item["spec"]} if is_trained_model({**found, "spec": item.get("spec")}) else None


def concerns_us(request: Request, namespace: str) -> bool:
    """Return whether a request may be refused at all.

    Deletions, statuses and other namespaces never are, whatever a configuration sends here; nor is what
    cannot be read: schemas are the API server's to enforce.
    """
    return (
        request.operation in _OPERATIONS
        and not request.subresource
        and request.namespace == namespace
        and request.item is not None
    )


def passed(request: Request, *, warning: str | None = None) -> Answer:
    """Return that a request is let through without a verdict, and why if that is worth a warning."""
    return _answer(request, {"allowed": True, **({"warnings": [_cut(warning)]} if warning else {})})


def judged(request: Request, verdict: Verdict, *, only_warn: bool) -> Answer:
    """Return the answer that a verdict makes.

    Parameters
    ----------
    request, verdict
        What was asked, and what the controller would do.
    only_warn
        Whether one that does not fit is let through with a warning.
    """
    if not verdict.is_ours:
        return passed(request)
    if verdict.fits or only_warn:
        where = [place_sentence(place) for place in verdict.places]
        response: dict[str, Any] = {"allowed": True}
        warnings = _warnings(request, verdict)
        if warnings:
            response["warnings"] = warnings
        if where:
            response["auditAnnotations"] = {"places": "; ".join(where)[:_LONGEST_MESSAGE]}
        return _answer(request, response)
    # 403, as for a quota that is used up: the object is in order, and there is no room for it.
    message = f"model {verdict.model} does not fit: {verdict.refusal}"[:_LONGEST_MESSAGE]
    status = {"status": "Failure", "code": 403, "reason": "Forbidden", "message": message}
    return _answer(request, {"allowed": False, "status": status})


def _warnings(request: Request, verdict: Verdict) -> list[str]:
    found = [f"model {verdict.model} does not fit: {verdict.refusal}"] if verdict.refusal else []
    # Who only tries wants to know where; to others a place among the open shards is no news.
    told = [place for place in verdict.places if place.is_new or request.dry_run]
    found += [f"model {verdict.model}: {place_sentence(place)}" for place in told]
    return [_cut(text) for text in found[:_MOST_WARNINGS]]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_WARNING else f"{text[: _LONGEST_WARNING - 1]}…"


def _answer(request: Request, response: Mapping[str, Any]) -> Answer:
    return {"apiVersion": API_VERSION, "kind": KIND, "response": {"uid": request.uid, **response}}

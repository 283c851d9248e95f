"""Inference requests to served models, and whether their answers are right."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import urllib3

Row = Sequence[float]

# Predictions cross float32 tensors and JSON text; two libraries' threads may sum in another order.
RELATIVE_TOLERANCE = 1e-4
ABSOLUTE_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Rows for a model's ``INPUT0`` and the ``OUTPUT0`` that it must answer, both float32 and row by row."""

    rows: tuple[tuple[float, ...], ...]
    answers: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a model answered.

    Parameters
    ----------
    status
        HTTP status; None when no answer came.
    correct
        Whether every value is within the tolerance.
    detail
        What went wrong; empty when ``correct``.
    """

    status: int | None
    correct: bool
    detail: str = ""


def ask(pool: urllib3.PoolManager, url: str, question: Question) -> Verdict:
    """Send one request to a model's V2 infer endpoint and compare the answer."""
    try:
        response = pool.request("POST", url, body=_body(question), timeout=30.0, retries=False)
    except urllib3.exceptions.HTTPError as error:
        return Verdict(status=None, correct=False, detail=f"no answer: {error}")
    if response.status != 200:
        return Verdict(
            status=response.status, correct=False, detail=response.data.decode(errors="replace")[:200]
        )
    found = _values(response.data)
    wanted = [value for row in question.answers for value in row]
    if found is None or len(found) != len(wanted):
        return Verdict(status=200, correct=False, detail=f"expected {len(wanted)} values in OUTPUT0")
    for position, (value, expected) in enumerate(zip(found, wanted, strict=True)):
        if not math.isclose(value, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE):
            return Verdict(
                status=200, correct=False, detail=f"value {position} is {value}, expected {expected}"
            )
    return Verdict(status=200, correct=True)


def _body(question: Question) -> bytes:
    tensor = {
        "name": "INPUT0",
        "datatype": "FP32",
        "shape": [len(question.rows), len(question.rows[0])],
        "data": [value for row in question.rows for value in row],
    }
    return json.dumps({"inputs": [tensor]}).encode()


def _values(body: bytes) -> list[float] | None:
    """Return the values of ``OUTPUT0``; None where the body is not a V2 answer that has it."""
    try:
        tensors = {tensor["name"]: tensor["data"] for tensor in json.loads(body)["outputs"]}
        return list(map(float, tensors["OUTPUT0"]))
    except (ValueError, TypeError, KeyError):
        return None

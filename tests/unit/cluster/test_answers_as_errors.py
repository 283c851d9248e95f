"""What the API server refuses, as our errors."""

from __future__ import annotations

import json

import pytest

from planner.cluster.answers import error_of
from planner.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    Fault,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)


def status(code: int, reason: str, message: str = "why", **details: object) -> bytes:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", InvalidError),
        (401, "Unauthorized", ForbiddenError),
        (403, "Forbidden", ForbiddenError),
        (404, "NotFound", NotFoundError),
        (409, "Conflict", ConflictError),
        (409, "AlreadyExists", AlreadyExistsError),
        (410, "Expired", GoneError),
        (413, "RequestEntityTooLarge", InvalidError),
        (415, "UnsupportedMediaType", InvalidError),
        (422, "Invalid", InvalidError),
        (429, "TooManyRequests", UnavailableError),
        (500, "InternalError", UnavailableError),
        (503, "ServiceUnavailable", UnavailableError),
        (504, "Timeout", UnavailableError),
    ],
)
def test_every_status_is_one_of_our_errors(code: int, reason: str, kind: type[ClusterError]) -> None:
    error = error_of(code, status(code, reason))
    assert type(error) is kind
    assert str(error) == f"Error from server ({reason}): why"
    assert error.status == code


def test_the_causes_are_faults_with_the_paths_of_fields() -> None:
    causes = [{"reason": "FieldValueRequired", "field": "spec.model", "message": "Required value"}]
    error = error_of(422, status(422, "Invalid", causes=causes))
    assert error.faults == (Fault(path="spec.model", message="Required value"),)


def test_a_field_that_an_apply_does_not_know_is_no_fault_of_the_server() -> None:
    text = (
        "failed to create typed patch object (n/x; /v1, Kind=ConfigMap): .dota: field not declared in schema"
    )
    assert type(error_of(500, status(500, "InternalError", text))) is InvalidError


def test_how_long_to_wait_is_read_from_the_header_or_the_details() -> None:
    assert error_of(429, status(429, "TooManyRequests"), retry_after="2").retry_after_s == 2.0
    assert error_of(429, status(429, "TooManyRequests", retryAfterSeconds=3)).retry_after_s == 3.0
    assert error_of(429, status(429, "TooManyRequests"), retry_after="Mon, 23 Nov").retry_after_s is None


def test_the_page_of_a_proxy_is_told_in_short() -> None:
    error = error_of(502, b"<html>" + b"x" * 10_000)
    assert type(error) is UnavailableError
    assert str(error).startswith("Error from server (HTTP 502): <html>")
    assert len(str(error)) < 600

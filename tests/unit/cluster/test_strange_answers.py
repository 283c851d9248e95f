"""Good answers that no API server gives: of a proxy, a portal or another service in its place."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3

from planner.cluster.answers import error_of
from planner.cluster.client import Kube
from planner.cluster.resources import CONFIG_MAPS
from planner.cluster.stream import Stream
from planner.errors import UnavailableError

DEEP = b"[" * 200_000
STRANGE = [b"", b"<html>", b"\xff\xfe\x00", b"null", b"[]", b"5", b'"x"', DEEP]
OBJECT = {"metadata": {"name": "a", "namespace": "n", "resourceVersion": "1"}}


def answer_of(body: bytes) -> urllib3.HTTPResponse:
    return urllib3.HTTPResponse(body=io.BytesIO(body), status=200, preload_content=False)


class Always:
    """A connection that answers everything with the same."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def param_serialize(self, method: str, path: str, *_: object, **__: object) -> tuple[Any, ...]:
        return method, f"http://server{path}", {}

    def call_api(self, *_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(response=answer_of(self.body))


def kube(answer: bytes | object) -> Kube:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return Kube(Always(body))


@pytest.mark.parametrize(
    "answer",
    [*STRANGE, {}, {"metadata": None}, {"metadata": []}, {"metadata": {}}, {"metadata": {"name": 5}}],
    ids=lambda answer: str(answer)[:30],
)
def test_what_is_no_object_is_no_answer(answer: bytes | object) -> None:
    client = kube(answer)
    with pytest.raises(UnavailableError, match="the server's answer is"):
        client.get(CONFIG_MAPS, "a", namespace="n")
    with pytest.raises(UnavailableError, match="the server's answer is"):
        client.create(CONFIG_MAPS, OBJECT)
    with pytest.raises(UnavailableError, match="the server's answer is"):
        client.apply(CONFIG_MAPS, OBJECT)


@pytest.mark.parametrize(
    "answer",
    [
        *STRANGE,
        {},
        {"items": 5, "metadata": {}},
        {"items": {}, "metadata": []},
        {"items": [None], "metadata": {}},
        {"items": [{}], "metadata": {}},
        {"items": [{"metadata": {"name": None}}], "metadata": {}},
    ],
    ids=lambda answer: str(answer)[:30],
)
def test_what_is_no_list_is_no_answer(answer: bytes | object) -> None:
    with pytest.raises(UnavailableError, match="the server's answer is"):
        kube(answer).list(CONFIG_MAPS, namespace="n")


def test_a_list_without_items_is_empty() -> None:
    found = kube({"items": None, "metadata": {"resourceVersion": "7"}}).list(CONFIG_MAPS)
    assert (found.items, found.resource_version) == ((), "7")


@pytest.mark.parametrize(
    "answer", [*STRANGE, {}, {"resources": 5}, {"resources": [{}]}], ids=lambda answer: str(answer)[:30]
)
def test_what_tells_of_no_kinds_is_no_answer(answer: bytes | object) -> None:
    with pytest.raises(UnavailableError, match="the server's answer is"):
        kube(answer).resource_of("apps/v1", "Deployment")
    with pytest.raises(UnavailableError, match="the server's answer is"):
        kube(answer).server_version()
    with pytest.raises(UnavailableError, match="the server's answer is"):
        kube(answer).may("delete", CONFIG_MAPS, namespace="models")


@pytest.mark.parametrize(
    "line",
    [
        b"<html>",
        b"null",
        b"[]",
        DEEP,
        b"{}",
        b'{"type": "ADDED"}',
        b'{"type": "ADDED", "object": 5}',
        b'{"type": "ADDED", "object": {}}',
        b'{"type": "MODIFIED", "object": {"metadata": {"name": []}}}',
        b'{"type": "BOOKMARK", "object": {"metadata": 5}}',
        b'{"type": "ERROR", "object": null}',
        b'{"type": "ELSE", "object": {"metadata": {"name": "a"}}}',
    ],
    ids=lambda line: line[:30].decode(),
)
def test_a_line_that_is_no_event_ends_the_watch(line: bytes) -> None:
    stream = Stream(answer_of(line + b"\n"))
    with pytest.raises(UnavailableError, match="a line of the watch is"):
        list(stream)


@pytest.mark.parametrize(
    "details", [5, [], "x", {"causes": 5}, {"causes": [None]}, {"retryAfterSeconds": []}], ids=str
)
def test_details_of_an_error_that_mean_nothing_are_passed_over(details: object) -> None:
    body = {"kind": "Status", "reason": [], "message": 5, "details": details}
    error = error_of(500, json.dumps(body).encode())
    assert (type(error), error.faults, error.retry_after_s) == (UnavailableError, (), None)


def test_an_error_that_goes_too_deep_is_told_as_a_page_is() -> None:
    assert len(str(error_of(502, DEEP))) < 600

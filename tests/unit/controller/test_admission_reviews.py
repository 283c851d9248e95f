"""What AdmissionReviews are read as, and how verdicts answer them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.controller.admission import ReviewError, concerns_us, judged, passed, read_review
from planner.controller.fitting import Place, Verdict
from tests.support.memory_cluster import NAMESPACE, a_trained_model


def review(item: Any, **request: Any) -> bytes:
    asked = {"uid": "u-1", "namespace": NAMESPACE, "operation": "CREATE", "object": item, **request}
    document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}
    return json.dumps(document).encode()


def a_place(**changes: Any) -> Place:
    facts: dict[str, Any] = {
        "replica": 0,
        "shard": "news-1",
        "devices": (0,),
        "is_new": False,
        "shard_type": "t4",
        "needs_bytes": 2**30,
        "left_bytes": 2**31,
    }
    return Place(**{**facts, **changes})


def test_a_creation_concerns_us() -> None:
    request = read_review(review(a_trained_model("m")))
    assert concerns_us(request, NAMESPACE)
    assert request.item is not None
    assert request.item["metadata"]["name"] == "m"


@pytest.mark.parametrize(
    "other",
    [
        {"operation": "DELETE"},
        {"operation": "CONNECT"},
        {"subResource": "status"},
        {"namespace": "elsewhere"},
        {"object": None},
        {"object": {"kind": "Pod", "metadata": {"name": "p"}}},
        {"object": {**a_trained_model("m"), "spec": {"model": {"framework": ["onnx"]}}}},
        {"object": {**a_trained_model("m"), "spec": ["model"]}},
    ],
)
def test_nothing_else_does(other: dict[str, Any]) -> None:
    request = read_review(review(a_trained_model("m"), **other))
    assert not concerns_us(request, NAMESPACE)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"[" * 100_000, b'{"kind": "AdmissionReview"}'])
def test_what_is_no_review_is_refused(body: bytes) -> None:
    with pytest.raises(ReviewError):
        read_review(body)


def test_another_version_is_refused() -> None:
    text = review(a_trained_model("m")).replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1")
    with pytest.raises(ReviewError, match=r"admission\.k8s\.io/v1"):
        read_review(text)


def test_a_name_that_the_server_makes_up_is_no_fault() -> None:
    item = a_trained_model("m")
    item["metadata"] = {"generateName": "sports-"}
    request = read_review(review(item))
    assert request.item is not None
    assert request.item["metadata"]["name"] == "sports-new"


def test_one_that_does_not_fit_is_refused_with_the_reason() -> None:
    verdict = Verdict(model="m", is_ours=True, refusal="1 of 1 replicas refused: no room")
    response = judged(read_review(review(a_trained_model("m"))), verdict, only_warn=False)["response"]
    assert (response["uid"], response["allowed"], response["status"]["code"]) == ("u-1", False, 403)
    assert response["status"]["message"] == "model m does not fit: 1 of 1 replicas refused: no room"
    warned = judged(read_review(review(a_trained_model("m"))), verdict, only_warn=True)["response"]
    assert warned["allowed"]
    assert warned["warnings"] == [response["status"]["message"]]


def test_a_new_shard_is_a_warning_and_a_place_is_for_who_tries() -> None:
    at_home = Verdict(model="m", is_ours=True, places=(a_place(),))
    told = judged(read_review(review(a_trained_model("m"))), at_home, only_warn=False)["response"]
    assert "warnings" not in told
    assert told["auditAnnotations"]["places"].startswith("replica 0 on news-1/0: needs 1Gi of GPU memory")
    tried = judged(read_review(review(a_trained_model("m"), dryRun=True)), at_home, only_warn=False)
    assert tried["response"]["warnings"] == [f"model m: {told['auditAnnotations']['places']}"]
    opening = Verdict(model="m", is_ours=True, places=(a_place(is_new=True),))
    warned = judged(read_review(review(a_trained_model("m"))), opening, only_warn=False)["response"]
    assert "a new shard of type t4" in warned["warnings"][0]


def test_others_pass_in_silence_and_long_texts_are_cut() -> None:
    request = read_review(review(a_trained_model("m")))
    theirs = judged(request, Verdict(model="m", is_ours=False), only_warn=False)
    assert theirs == passed(request)
    (warning,) = passed(request, warning="x" * 999)["response"]["warnings"]
    assert len(warning) == 250
    places = tuple(a_place(replica=number, is_new=True) for number in range(30))
    assert (
        len(
            judged(request, Verdict(model="m", is_ours=True, places=places), only_warn=False)["response"][
                "warnings"
            ]
        )
        <= 8
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "spec", "model", "name", "labels", "kind", "memory", "framework"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(item=JSON, before=JSON)
def test_any_object_is_read_or_none_of_our_business(item: Any, before: Any) -> None:
    request = read_review(review(item, oldObject=before))
    assert request.item is None or isinstance(request.item["metadata"]["name"], str)

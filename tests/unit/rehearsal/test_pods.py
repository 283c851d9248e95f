"""What a pod takes from its manifests, and when its agent is done."""

from __future__ import annotations

import pytest

from planner.rehearsal.observing import is_final
from planner.rehearsal.pods import server_options, serves_as_planned
from planner.rehearsal.triton import TritonOptions


def test_the_server_is_set_up_as_the_manifests_say() -> None:
    arguments = (
        "--load-model=*",
        "--strict-readiness=false",
        "--http-thread-count=12",
        "--model-load-thread-count=3",
        "--cuda-memory-pool-byte-size=0:4096",
        "--cuda-memory-pool-byte-size=1:4096",
    )
    found = server_options(arguments, TritonOptions(exit_timeout_s=1))
    assert (found.http_threads, found.load_threads, found.pool_bytes) == (12, 3, 4096)
    assert (found.load_at_start, found.exit_timeout_s) == (("*",), 1)


def test_what_they_do_not_say_stays() -> None:
    assert server_options((), TritonOptions(pool_bytes=7)) == TritonOptions(pool_bytes=7)


@pytest.mark.parametrize(
    ("state", "attempts", "final"),
    [
        ("Loaded", 0, True),
        ("Loading", 0, False),
        ("FailedToLoad", 1, False),
        ("FailedToLoad", 2, True),
        ("Unloading", 0, False),
    ],
)
def test_a_model_is_final_when_loaded_or_hopeless(state: str, attempts: int, final: bool) -> None:
    assert is_final({"state": state, "attempts": attempts}) is final


@pytest.mark.parametrize(
    ("reason", "attempts", "final"), [(None, 0, True), ("UpdateFailed", 1, False), ("UpdateFailed", 2, True)]
)
def test_a_model_that_serves_as_before_is_not_as_planned(
    reason: str | None, attempts: int, final: bool
) -> None:
    entry = {"state": "Loaded", "reason": reason, "attempts": attempts}
    assert is_final(entry) is final
    assert serves_as_planned(entry) is (reason is None)

"""What a status says, and when it says anything new."""

from __future__ import annotations

from typing import Any

import pytest

from planner.controller.conditions import CopyState, Life, conditions_of, merged, worst


def a_copy(shard: str, state: str, message: str = "") -> CopyState:
    return CopyState(shard=shard, state=state, message=message, answers=state == "Loaded")


def by_type(life: Life) -> dict[str, dict[str, Any]]:
    return {item["type"]: item for item in conditions_of(life, ready=True)}


def test_of_several_pods_the_one_that_is_furthest_behind_speaks() -> None:
    assert worst([("Loaded", ""), ("Downloading", "")]) == ("Downloading", "")
    assert worst([("Pending", ""), ("FailedToLoad", "no")]) == ("FailedToLoad", "no")
    assert worst([]) == ("Pending", "")


def test_n_of_m_replicas() -> None:
    copies = (a_copy("a", "Loaded"), a_copy("b", "Loading"))
    found = by_type(Life(replicas=2, copies=copies))
    assert found["Assigned"]["status"] == "True"
    assert found["Assigned"]["message"] == "2 replicas on a, b"
    assert found["Loaded"]["status"] == "Unknown"
    assert found["Loaded"]["message"] == "1 of 2 replicas loaded; b: Loading"
    assert found["Ready"]["status"] == "True"


def test_a_new_pod_changes_nothing_that_is_said_unless_it_fails() -> None:
    alone = Life(replicas=1, copies=(a_copy("a", "Loaded"),))
    new = CopyState(shard="a", state="Loading", answers=True)
    assert by_type(Life(replicas=1, copies=(new,))) == by_type(alone)
    failed = CopyState(shard="a", state="FailedToLoad", message="no such backend", answers=True)
    found = by_type(Life(replicas=1, copies=(failed,)))
    assert (found["Ready"]["status"], found["Loaded"]["status"]) == ("True", "False")
    assert (
        found["Loaded"]["message"] == "1 of 1 replica loaded; a new pod of a: FailedToLoad: no such backend"
    )


def test_what_there_is_to_know_of_a_loaded_copy_is_told() -> None:
    copies = (
        a_copy("a", "Loaded"),
        a_copy("b", "Loaded", message="its code chooses its GPU"),
    )
    found = by_type(Life(replicas=2, copies=copies))["Loaded"]
    assert (found["status"], found["reason"]) == ("True", "Loaded")
    assert found["message"] == "2 of 2 replicas loaded; b: its code chooses its GPU"


def test_a_failure_is_told_with_its_reason() -> None:
    copies = (a_copy("a", "FailedToLoad", message="no such backend"),)
    found = by_type(Life(replicas=1, copies=copies))
    assert found["Loaded"]["status"] == "False"
    assert found["Loaded"]["reason"] == "FailedToLoad"
    assert "no such backend" in found["Loaded"]["message"]
    assert found["Ready"]["status"] == "False"


def test_a_refusal_says_what_is_there_and_what_is_not() -> None:
    found = by_type(Life(replicas=2, copies=(a_copy("a", "Loaded"),), reason="NoRoom", refusal="full"))
    assert found["Assigned"] == {
        "type": "Assigned",
        "status": "False",
        "reason": "NoRoom",
        "message": "1 of 2 replicas on a; full",
    }


def test_the_old_copy_of_a_move_serves() -> None:
    life = Life(
        replicas=1,
        copies=(a_copy("b", "Loading"),),
        leaving=(a_copy("a", "Loaded"),),
    )
    assert by_type(life)["Ready"]["status"] == "True"
    assert by_type(life)["Assigned"]["message"] == "1 replica on b; the copy on a goes when all are loaded"


@pytest.mark.parametrize("state", ["Loaded", "Downloading"])
def test_conditions_of_others_stay_and_times_change_with_the_status_alone(state: str) -> None:
    life = Life(replicas=1, copies=(a_copy("a", state),))
    theirs = {"type": "IsMMSPredictor", "status": "True", "lastTransitionTime": "1"}
    first = merged([theirs], conditions_of(life, ready=False), now="2")
    assert first is not None
    assert first[0] == theirs
    assert [item["lastTransitionTime"] for item in first] == ["1", "2", "2"]
    assert merged(first, conditions_of(life, ready=False), now="3") is None
    later = Life(replicas=1, copies=(a_copy("b", state),))
    second = merged(first, conditions_of(later, ready=False), now="3")
    assert second is not None
    assert [item["lastTransitionTime"] for item in second] == ["1", "2", "2"]
    failed = Life(replicas=1, copies=(a_copy("a", "FailedToLoad"),))
    third = merged(first, conditions_of(failed, ready=False), now="4")
    assert third is not None
    assert [item["lastTransitionTime"] for item in third] == ["1", "2", "4"]


def test_a_model_is_ready_only_with_a_pod_of_its_transformer() -> None:
    loaded = (a_copy("a", "Loaded"),)
    alone = Life(replicas=1, copies=loaded, transformer="scale", is_transformed=False)
    found = by_type(alone)
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", "TransformerNotReady")
    assert found["TransformerReady"]["message"] == "no pod of transformer scale is ready"
    assert found["Loaded"]["status"] == "True"
    both = by_type(Life(replicas=1, copies=loaded, transformer="scale"))
    assert (both["Ready"]["status"], both["TransformerReady"]["status"]) == ("True", "True")


def test_what_is_said_of_a_transformer_goes_with_it() -> None:
    loaded = (a_copy("a", "Loaded"),)
    through = Life(replicas=1, copies=loaded, transformer="scale")
    first = merged([], conditions_of(through, ready=False), now="1")
    assert first is not None
    second = merged(first, conditions_of(Life(replicas=1, copies=loaded), ready=False), now="2")
    assert second is not None
    assert [item["type"] for item in second] == ["Assigned", "Loaded"]

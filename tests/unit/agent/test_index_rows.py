from __future__ import annotations

import pytest

from agent.servers.port import IndexRow
from agent.servers.triton import index_rows


def test_rows_as_triton_writes_them() -> None:
    found = index_rows(
        [
            {"name": "never"},
            {"name": "up", "version": "1", "state": "READY"},
            {"name": "bad", "version": "1", "state": "UNAVAILABLE", "reason": "no such thing"},
            {"name": "odd", "version": "1", "state": "DREAMING"},
        ]
    )
    assert found == {"up": IndexRow("READY"), "bad": IndexRow("UNAVAILABLE", "no such thing")}


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (("UNAVAILABLE", "READY"), "READY"),
        (("READY", "UNLOADING"), "READY"),
        (("UNLOADING", "UNAVAILABLE"), "UNLOADING"),
        (("READY", "LOADING"), "LOADING"),
    ],
)
def test_over_versions_the_state_that_keeps_the_files_needed_wins(
    states: tuple[str, ...], state: str
) -> None:
    rows = [{"name": "m", "version": str(number), "state": one} for number, one in enumerate(states)]
    assert index_rows(rows)["m"].state == state
    assert index_rows(rows[::-1])["m"].state == state


@pytest.mark.parametrize(
    "row",
    [7, None, {"name": ["m"], "state": "READY"}, {"name": "m", "state": []}, {"name": "", "state": "READY"}],
)
def test_a_row_that_is_none_is_left_out(row: object) -> None:
    assert index_rows([row, {"name": "up", "state": "READY", "reason": None}]) == {"up": IndexRow("READY")}

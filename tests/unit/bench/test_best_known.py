"""What is best known is compared with, and refreshed for the better only; no benchmark runs for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.best import compared, figure_of, name_of, read_known, refresh, refreshed, text_of
from tests.bench.records import REFRESH, keep
from tests.bench.table import mean_rows, over_best

DOCS = Path(__file__).parents[3] / "docs" / "benchmarks"
NAME = "fleet-1000-0, correlated"


def a_record(cost: int = 110, bound: int | None = 90, refused: int = 0) -> dict[str, Any]:
    return {
        "instance": "fleet-1000-0",
        "correlated": True,
        "peers": {},
        "refused": refused,
        "cost_microusd_per_h": cost,
        "bound_microusd_per_h": bound,
    }


def known(value: int = 100, bound: int | None = 95, refused: int = 0) -> dict[str, Any]:
    return refreshed({}, a_record(value, bound, refused), commit="old", today="2026-01-01")


def after(record: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = refreshed(before, record, commit="new", today="2026-02-02")[NAME]
    return found


def test_a_record_says_by_how_much_it_is_worse() -> None:
    best = compared(a_record(110), known(100))
    assert best == {"value": 100, "bound": 95, "commit": "old", "worse_percent": 10.0}


def test_a_record_that_is_better_than_ever_says_so() -> None:
    best = compared(a_record(98), known(100))
    assert best is not None
    assert best["worse_percent"] == -2.0


def test_plans_that_refuse_differently_do_not_compare() -> None:
    best = compared(a_record(50, refused=3), known(100))
    assert best is not None
    assert best["worse_percent"] is None
    assert over_best(a_record(50, refused=3), known(100)) == "-"


def test_means_are_over_all_seeds_of_a_size_and_kind() -> None:
    costs = (110, 104, 101)
    records = [
        {**a_record(cost), "replicas": 1_000, "gap_ratio": cost / 100 - 1, "seconds": cost} for cost in costs
    ]
    other = {**a_record(), "correlated": False, "replicas": 1_000, "gap_ratio": 0.5, "seconds": 7.0}
    assert mean_rows([*records, other], known(100)) == [
        "| 1,000, correlated | 3 | 5.00% | 0 | +5.00% | 104.0 |",
        "| 1,000, independent | 1 | 50.00% | 0 | - | 7.0 |",
    ]


def test_an_instance_that_is_not_known_has_nothing_to_compare_with() -> None:
    assert compared(a_record(), {}) is None
    assert over_best(a_record(), {}) == "-"


def test_the_table_shows_the_percentage() -> None:
    assert [over_best(a_record(cost), known(100)) for cost in (110, 100)] == ["+10.00%", "+0.00%"]


@pytest.mark.parametrize(("cost", "refused"), [(101, 0), (100, 0), (50, 1)])
def test_a_worse_or_equal_plan_changes_nothing(cost: int, refused: int) -> None:
    assert after(a_record(cost, 90, refused), known()) == known()[NAME]


def test_a_better_plan_is_taken_over_and_the_better_bound_stays() -> None:
    best = after(a_record(99, bound=90), known())
    assert (best["value"], best["bound"], best["commit"], best["date"]) == (99, 95, "new", "2026-02-02")


def test_a_better_bound_is_taken_over_and_the_better_plan_stays() -> None:
    best = after(a_record(120, bound=97), known())
    assert (best["value"], best["bound"], best["commit"]) == (100, 97, "old")


def test_a_bound_of_a_plan_that_refuses_more_does_not_count() -> None:
    assert after(a_record(80, bound=70, refused=0), known(50, 40, refused=2))["bound"] == 70


def test_a_plan_below_the_bound_is_a_fault() -> None:
    with pytest.raises(ValueError, match="below the best bound"):
        after(a_record(94), known())


def test_more_percent_are_better() -> None:
    def offline(percent: float) -> dict[str, Any]:
        return {"suite": "openb", "track": "offline", "instance": "default", "mean_percent": percent}

    before = refreshed({}, offline(99.0), commit="old", today="2026-01-01")
    assert refreshed(before, offline(98.0), commit="new", today="2026-02-02") == before
    better = refreshed(before, offline(99.5), commit="new", today="2026-02-02")
    assert better["openb offline, default"]["value"] == 99.5
    worse = compared(offline(98.01), before)
    assert worse is not None
    assert worse["worse_percent"] == 1.0


def test_records_of_other_suites_are_not_of_our_own_instances() -> None:
    assert name_of({"suite": "new_class1-3", "instance": "class1_20_3_0", "published": {}}) is None
    assert name_of({"instance": "fleet-1k", "limit_s": 1, "refused": 0}) is None
    assert refreshed({"a": 1}, {"instance": "fleet-1k"}, commit=None, today="") == {"a": 1}


def test_the_file_is_written_only_where_something_is_better(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    path.write_text(text_of(known()), encoding="utf-8")
    before = path.stat().st_mtime_ns
    refresh(a_record(110), commit="new", path=path)
    assert path.stat().st_mtime_ns == before
    refresh(a_record(99), commit="new", path=path)
    assert read_known(path)[NAME]["value"] == 99


def test_a_record_is_kept_beside_what_is_best_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARDPACK_BENCH_OUT", str(tmp_path))
    monkeypatch.delenv(REFRESH, raising=False)
    before = read_known()
    keep(a_record(cost=1, bound=0), "record")
    assert json.loads((tmp_path / "record.json").read_text())["best_known"]["worse_percent"] < 0
    assert read_known() == before  # not asked to refresh


@pytest.mark.parametrize("name", ["0.1.0.json", "moves-0.1.0.json", "online-0.1.0.json"])
def test_no_record_of_the_docs_is_better_than_what_is_best_known(name: str) -> None:
    best = read_known()
    records = [one for one in json.loads((DOCS / name).read_text()) if name_of(one) is not None]
    assert records
    for record in records:
        found = compared(record, best)
        assert found is not None, name_of(record)
        assert found["worse_percent"] is None or found["worse_percent"] >= 0


def test_every_entry_has_a_value_that_its_bound_allows_and_says_where_it_is_from() -> None:
    for entry in read_known().values():
        assert entry["version"]
        assert entry["commit"]
        assert entry["date"]
        assert entry["bound"] is None or entry["bound"] <= entry["value"]


def test_every_kind_of_record_has_a_figure() -> None:
    overload = {"over_before": 75, "at_least": 61, "plan": {"moves": 72}, "instance": "drifted", "seed": 0}
    moves = {
        "suite": "openb",
        "track": "moves",
        "start": "fgd",
        "instance": "a",
        "mean_percent": {"0": 1, "9": 2},
    }
    assert (figure_of(overload).value, figure_of(overload).bound) == (72, 61)
    assert figure_of(moves).value == 2
    assert name_of(overload) == "overload drifted, seed 0"

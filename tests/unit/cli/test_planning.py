"""``plan``, ``verify`` and ``diff`` as a user sees them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from cli_runs import SCENARIO, Files, Run


def test_a_plan_is_a_table_and_a_summary(files: Files, run: Run) -> None:
    result = run("plan", files.scenario)
    lines = result.stdout.split("\n")
    assert lines[0].split() == ["NAME", "TYPE", "NODE", "MODELS", "GPU", "MEMORY", "FULL", "USD/H"]
    assert [line.split()[0] for line in lines[1:3]] == ["news", "news-1"]
    assert "cost     1 USD/h, 2 shards, 2 GPUs" in lines
    assert "placed   3 of 3 replicas" in lines
    assert any(line.startswith("bound    ") for line in lines)
    assert any("seed 0, work " in line for line in lines)


def test_wide_names_what_binds(files: Files, run: Run) -> None:
    header = run("plan", files.scenario, "-o", "wide").stdout.split("\n")[0]
    assert "BINDS" in header.split()


def test_names_are_one_a_line(files: Files, run: Run) -> None:
    assert run("plan", "-f", files.scenario, "-o", "name").stdout == "shard/news\nshard/news-1\n"


def test_json_yaml_and_the_file_are_one_document(files: Files, run: Run) -> None:
    out = files.path("plan.json")
    printed = run("plan", files.scenario, "-o", "json", "--out", out)
    assert printed.stdout == Path(out).read_text(encoding="utf-8")
    assert printed.stderr.endswith(f"wrote {out}\n")  # a slow machine tells its progress before
    assert yaml.safe_load(run("plan", files.scenario, "-o", "yaml").stdout) == json.loads(printed.stdout)


def test_a_scenario_may_come_from_stdin(files: Files, run: Run) -> None:
    text = Path(files.scenario).read_text(encoding="utf-8")
    assert run("plan", "-", "-o", "name", stdin=text).stdout == "shard/news\nshard/news-1\n"


def test_seed_and_budget_stand_in_the_plan(files: Files, run: Run) -> None:
    arguments = ("--seed", "7", "--work", "3", "--time-limit", "1.5", "--workers", "2")
    metadata = json.loads(run("plan", files.scenario, "-o", "json", *arguments).stdout)["metadata"]
    assert metadata["seed"] == 7
    assert metadata["budget"] == {"work": 3, "timeLimitMs": 1500, "workers": 2}


def test_equal_inputs_give_equal_bytes(files: Files, run: Run) -> None:
    first, second = (run("plan", files.scenario, "-o", "json").stdout for _ in range(2))
    assert first == second


def test_refusals_are_said_and_the_plan_is_written(files: Files, run: Run) -> None:
    out = files.path("plan.json")
    result = run("plan", files.too_small, "--out", out)
    assert result.exit_code == 3
    assert "huge: 1 replica refused: " in result.stdout
    assert json.loads(Path(out).read_text(encoding="utf-8"))["refusals"][0]["model"] == "huge"


def test_bad_input_names_every_fault_and_writes_nothing(files: Files, run: Run) -> None:
    out = Path(files.path("plan.json"))
    result = run("plan", files.broken, "--out", str(out))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "replicsa" in result.stderr
    assert "2Gb" in result.stderr
    assert not out.exists()


def test_bad_input_leaves_an_older_plan_as_it_was(files: Files, run: Run, planned: str) -> None:
    before = Path(planned).read_bytes()
    assert run("plan", files.broken, "--out", planned).exit_code == 2
    assert Path(planned).read_bytes() == before


def test_a_folder_that_is_not_there_is_said_before_the_search(files: Files, run: Run) -> None:
    result = run("plan", files.scenario, "--out", files.path("no/plan.json"))
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr
    assert result.stdout == ""


def test_the_scenario_is_never_overwritten(files: Files, run: Run) -> None:
    before = Path(files.scenario).read_bytes()
    result = run("plan", files.scenario, "--out", files.scenario)
    assert result.exit_code == 2
    assert "would overwrite what was read" in result.stderr
    assert Path(files.scenario).read_bytes() == before


def test_a_plan_goes_to_stdout_with_o_json_only(
    files: Files, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files.folder)
    result = run("plan", files.scenario, "--out", "-")
    assert result.exit_code == 2
    assert "-o json prints the plan on stdout" in result.stderr
    assert result.stdout == ""
    assert not (files.folder / "-").exists()


def test_quiet_says_nothing_on_stderr(files: Files, run: Run) -> None:
    assert run("plan", files.scenario, "--out", files.path("p.json"), "-q").stderr == ""
    assert run("-q", "plan", files.scenario, "--out", files.path("p.json")).stderr == ""


def test_a_file_given_twice_is_bad_usage(files: Files, run: Run) -> None:
    result = run("plan", files.scenario, "-f", files.scenario)
    assert result.exit_code == 2
    assert "unexpected argument" in result.stderr


# ---------------------------------------------------------------------------------------------- verify


def test_a_plan_verifies(files: Files, run: Run, planned: str) -> None:
    assert "verified against" in run("verify", files.scenario, planned).stdout
    document = json.loads(run("verify", files.scenario, planned, "-o", "json").stdout)
    assert (document["verified"], document["violations"]) == (True, [])
    assert {"rule": "cost", "subjects": 1, "violations": 0} in document["checks"]


def test_every_violation_is_listed(files: Files, run: Run, planned: str) -> None:
    path = Path(planned)
    document = json.loads(path.read_text(encoding="utf-8"))
    for placement in document["placements"]:
        placement["shard"] = "news"
    document["shards"][0]["devices"][0]["usedBytes"] += 1
    path.write_text(json.dumps(document), encoding="utf-8")
    result = run("verify", files.scenario, planned)
    assert result.exit_code == 4
    assert "[spread]" in result.stdout
    assert "usedBytes" in result.stdout
    assert "does not verify" in result.stderr
    found = json.loads(run("verify", files.scenario, planned, "-o", "json").stdout)
    assert found["verified"] is False
    assert "spread" in {item["rule"] for item in found["violations"]}
    names = run("verify", files.scenario, planned, "-o", "name")
    assert names.exit_code == 4
    assert names.stdout == "model/sports\nplan/news\n"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text[: len(text) // 2], "cut off"),
        (lambda text: text.replace("v1alpha1", "v9"), "another version"),
        (lambda text: "[]", "not a plan"),
        (lambda text: "", "plan.json"),
    ],
)
def test_what_is_no_plan_is_bad_input(change, complaint: str, files: Files, run: Run, planned: str) -> None:  # type: ignore[no-untyped-def]
    path = Path(planned)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    result = run("verify", files.scenario, planned)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_plan_is_not_read_from_stdin(files: Files, run: Run, planned: str) -> None:
    for line in (
        ["verify", files.scenario, "-"],
        ["diff", planned, "-"],
        ["explain", "-", "-f", files.scenario],
        ["plan", files.scenario, "--from", "-"],
    ):
        result = run(*line, stdin=Path(planned).read_text(encoding="utf-8"))
        assert result.exit_code == 2
        assert result.stderr == "a plan is read from a file; only a scenario may be '-'\n"


def test_a_plan_of_another_scenario_is_refused(files: Files, run: Run, planned: str) -> None:
    result = run("explain", planned, "-f", files.too_small)
    assert result.exit_code == 4
    assert "is not a plan of" in result.stderr
    for form in ("table", "wide", "name"):
        result = run("verify", files.too_small, planned, "-o", form)
        assert result.exit_code == 4
        assert result.stdout == ""
        assert "is not a plan of" in result.stderr
    rows = json.loads(run("verify", files.too_small, planned, "-o", "json").stdout)["violations"]
    assert "the plan is of another scenario" in {row["detail"] for row in rows}


# ------------------------------------------------------------------------------------------------ diff


def test_a_difference_names_what_changed(files: Files, run: Run, planned: str) -> None:
    after = files.path("after.json")
    assert run("plan", files.too_small, "--out", after).exit_code == 3
    result = run("diff", planned, after)
    assert result.exit_code == 1
    assert "+ refusal huge: 1 replica refused" in result.stdout
    document = json.loads(run("diff", planned, after, "-o", "json").stdout)
    assert [refusal["model"] for refusal in document["refused"]] == ["huge"]


def test_a_difference_says_how_long_loads_take_where_the_scenario_is_given(
    files: Files, run: Run, planned: str
) -> None:
    loads = "  catalog:\n    runtimes: [{name: triton, loads: {each: 20, perKnown: 1}}]\n"
    Path(files.path("slow.yaml")).write_text(SCENARIO.replace("  catalog:\n", loads), encoding="utf-8")
    slow, after, empty = (files.path(name) for name in ("slow.yaml", "after.json", "empty.json"))
    document = json.loads(Path(planned).read_text(encoding="utf-8"))
    document["shards"] = document["placements"] = []
    Path(empty).write_text(json.dumps(document), encoding="utf-8")
    planned_slow = run("plan", slow, "--out", after)
    assert planned_slow.exit_code == 0
    assert "loads    41 s at a cold start, 41 s one by one: news" in planned_slow.stdout
    text = run("diff", empty, after, "-f", slow).stdout
    assert text.endswith("changes  3 models on new shards; 41 s on news\n")
    assert "changes" not in run("diff", empty, after).stdout
    other = run("diff", empty, after, "-f", files.too_small)
    assert other.exit_code > 1
    assert "is not a plan of" in other.stderr


def test_names_of_a_difference_are_its_shards_and_models(files: Files, run: Run, planned: str) -> None:
    document = json.loads(Path(planned).read_text(encoding="utf-8"))
    document["shards"][1]["name"] = "news-7"
    document["placements"] = [item for item in document["placements"] if item["shard"] == "news"]
    other = Path(files.path("other.json"))
    other.write_text(json.dumps(document), encoding="utf-8")
    assert run("diff", planned, str(other), "-o", "name").stdout == (
        "shard/news-1\nshard/news-7\nmodel/sports\n"
    )


@pytest.mark.parametrize(
    "option",
    [
        ("--seed", str(2**63)),
        ("--work", str(2**63)),
        ("--workers", "5000"),
        ("--time-limit", "nan"),
        ("--time-limit", "inf"),
    ],
)
def test_what_a_plan_file_cannot_hold_is_bad_usage(files: Files, run: Run, option: tuple[str, str]) -> None:
    result = run("plan", files.scenario, *option)
    assert result.exit_code == 2
    assert option[0] in result.stderr


def test_a_plan_that_was_renamed_does_not_verify(files: Files, run: Run, planned: str) -> None:
    path = Path(planned)
    path.write_text(
        path.read_text(encoding="utf-8").replace('"namespace": "models"', '"namespace": "kube-system"'),
        encoding="utf-8",
    )
    result = run("verify", files.scenario, planned)
    assert result.exit_code == 4
    assert "namespace: the plan says 'kube-system', its scenario 'models' [reference]" in result.stdout


def test_moves_are_said_and_may_be_limited(files: Files, run: Run, planned: str) -> None:
    result = run("plan", files.scenario, "--from", planned, "--max-moves", 0)
    assert result.exit_code == 0
    assert "moves    0, at least 0" in result.stdout


def test_a_limit_of_moves_without_a_plan_in_force_is_bad_usage(files: Files, run: Run) -> None:
    result = run("plan", files.scenario, "--max-moves", 3)
    assert result.exit_code == 2
    assert "--from" in result.stderr


@pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="this system has no /proc, where no file can be made"
)
def test_a_folder_in_which_nothing_can_be_written_is_found_before_anything_is_read(run: Run) -> None:
    result = run("plan", "/nowhere/scenario.yaml", "--out", "/proc/plan.json")
    assert result.exit_code == 2
    assert result.stderr.startswith("/proc/plan.json: cannot be written: ")


def test_looking_whether_a_plan_can_be_written_leaves_nothing_behind(files: Files, run: Run) -> None:
    before = sorted(Path(files.path("")).iterdir())
    result = run("plan", files.broken, "--out", files.path("plan.json"))
    assert result.exit_code == 2
    assert sorted(Path(files.path("")).iterdir()) == before

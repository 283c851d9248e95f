"""Every command that prints a result offers the same formats, and they agree with each other."""

from __future__ import annotations

import json
import re

import click
import pytest
import yaml
from cli_runs import Files, Run

from planner.cli.app import cli
from planner.cli.options import FORMATS

_NAME = re.compile(r"[a-z.]+/[A-Za-z0-9./-]+")

_LINES = {
    "validate": "validate SCENARIO",
    "plan": "plan SCENARIO",
    "verify": "verify SCENARIO PLAN",
    "explain": "explain PLAN -f SCENARIO",
    "explain a model": "explain PLAN sports -f SCENARIO",
    "explain a shard": "explain PLAN news -f SCENARIO",
    "explain a device": "explain PLAN news/0 -f SCENARIO",
    "limits": "limits SCENARIO PLAN",
    "limits without a plan": "limits SCENARIO",
    "diff": "diff PLAN OTHER",
    "manifests": "manifests SCENARIO PLAN --out -",
    "relax": "relax TIGHT",
}


@pytest.fixture
def other(files: Files, run: Run) -> str:
    """A plan that differs from the scenario's."""
    out = files.path("other.json")
    run("plan", files.too_small, "--out", out, "-q")
    return out


def _with_output() -> list[str]:
    groups = {**cli.commands, **{f"inventory {name}": item for name, item in _commands("inventory").items()}}
    return sorted(
        name for name, command in groups.items() if any(item.name == "form" for item in command.params)
    )


def _commands(group: str) -> dict[str, click.Command]:
    found = cli.commands[group]
    assert isinstance(found, click.Group)
    return dict(found.commands)


def test_the_commands_with_a_result_have_formats() -> None:
    assert _with_output() == [
        "apply",
        "diff",
        "explain",
        "fit",
        "import",
        "inventory kube",
        "inventory nvml",
        "limits",
        "manifests",
        "place",
        "plan",
        "propose",
        "rehearse",
        "relax",
        "validate",
        "verify",
    ]


@pytest.mark.parametrize("command", _with_output())
def test_every_command_offers_every_format_and_says_what_wide_and_name_are(command: str, run: Run) -> None:
    text = " ".join(run(*command.split(), "--help").stdout.split())
    assert f"[{'|'.join(FORMATS)}]" in text
    assert "wide adds " in text
    assert "name prints, one a line, " in text
    assert "[default: " in text


@pytest.mark.parametrize("line", _LINES)
def test_every_format_of_every_command_prints_the_same_result(
    line: str, files: Files, run: Run, planned: str, other: str
) -> None:
    words = {"SCENARIO": files.scenario, "PLAN": planned, "OTHER": other, "TIGHT": files.tight()}
    arguments = [words.get(word, word) for word in _LINES[line].split()]
    results = {form: run(*arguments, "-o", form) for form in FORMATS}
    assert len({result.exit_code for result in results.values()}) == 1
    texts = {form: result.stdout for form, result in results.items()}
    assert texts["wide"] != texts["table"]
    assert len(texts["wide"]) > len(texts["table"]) > 0
    documents = list(yaml.safe_load_all(texts["yaml"]))
    found = json.loads(texts["json"])
    assert documents == (found["items"] if found.get("kind") == "List" else [found])
    for name in texts["name"].splitlines():
        assert _NAME.fullmatch(name), name


def test_names_of_one_command_are_subjects_of_another(files: Files, run: Run, planned: str) -> None:
    shards = run("explain", planned, "-f", files.scenario, "-o", "name").stdout.split()
    assert shards == ["shard/news", "shard/news-1"]
    models = [
        name
        for shard in shards
        for name in run("explain", planned, shard, "-f", files.scenario, "-o", "name").stdout.split()
    ]
    assert sorted(set(models)) == ["model/politics", "model/sports"]
    homes = run("explain", planned, "model/sports", "-f", files.scenario, "-o", "name").stdout.split()
    assert homes == shards
    device = run("explain", planned, "device/news-1/0", "-f", files.scenario, "-o", "name").stdout.split()
    assert device == ["model/sports"]

"""The JSON Schemas that ship are those of the shapes, and say the same as the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml

from planner.domain.rules import Rule
from planner.scenario.plan_shape import RuleName
from planner.scenario.schema import SCHEMA_FOLDER, schema_texts, write_schemas

SCENARIOS = Path(__file__).parents[3] / "scenarios"


@pytest.mark.parametrize("name", sorted(schema_texts()))
def test_shipped_schemas_are_up_to_date(name: str) -> None:
    # `python -m planner.scenario.schema` writes them
    assert (SCHEMA_FOLDER / name).read_text(encoding="utf-8") == schema_texts()[name]


@pytest.mark.parametrize("name", sorted(schema_texts()))
def test_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_texts()[name]))


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(schema_texts()[name]))


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_scenarios_are_valid(path: Path) -> None:
    # through JSON, since a JSON Schema knows only text keys
    data = json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8"))))
    validator("scenario.schema.json").validate(data)


def test_a_reference_to_the_catalogue_may_change_part_of_a_part() -> None:
    entry = {"use": "aws-g4dn.xlarge", "resources": {"cpu": "3"}, "devices": {"count": 1}}
    document = {
        "apiVersion": "shardpack.dev/v1alpha1",
        "kind": "Scenario",
        "metadata": {"name": "x"},
        "spec": {"shardTypes": [entry]},
    }
    assert validator("scenario.schema.json").is_valid(document)
    del entry["use"]
    assert not validator("scenario.schema.json").is_valid(document)


def test_unknown_fields_are_invalid() -> None:
    document = {
        "apiVersion": "shardpack.dev/v1alpha1",
        "kind": "Scenario",
        "metadata": {"name": "x"},
        "spec": {"modles": []},
    }
    assert not validator("scenario.schema.json").is_valid(document)


def test_plans_know_every_rule() -> None:
    assert set(get_args(RuleName)) == {rule.value for rule in Rule}


def test_write_schemas_writes_every_one(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == schema_texts()

"""What docs/controller.md shows is what the controller takes."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from planner.controller.fleet import is_fleet, read_fleet
from planner.controller.views import read_config_map, read_model
from planner.controller.wishes import group_of, wish_of

GUIDE = Path(__file__).parents[3] / "docs" / "controller.md"


def test_the_fleet_and_the_model_of_the_guide() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    documents = [document for block in blocks for document in yaml.safe_load_all(block)]
    (fleet_map,) = (item for item in documents if "scenario.yaml" in item.get("data", {}))
    (model,) = (item for item in documents if "inferenceService" in item.get("spec", {}))
    view = read_config_map(fleet_map)
    assert is_fleet(view)
    fleet = read_fleet(view, namespace="models")
    group = group_of(read_model(model), fleet)
    assert group == "news"
    assert wish_of(read_model(model), fleet, group).replicas == 2

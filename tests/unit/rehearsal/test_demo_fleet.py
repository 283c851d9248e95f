"""The shipped scenario of the demo is the one that the demo plans at first, but for where its files are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from planner.rehearsal.demo_fleet import giant_entry, tiny_models, write_catalog, write_scenario
from planner.rehearsal.zoo import zoo_names
from planner.scenario.catalogue import shipped_catalogue

SHIPPED = Path(__file__).parents[3] / "scenarios" / "demo.yaml"


def without_places(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in model.items() if key != "storageUri"} for model in models]


def test_the_shipped_scenario_is_the_demos(tmp_path: Path) -> None:
    shipped = yaml.safe_load(SHIPPED.read_text())["spec"]
    first = len(zoo_names())
    tiny = [model.entry for model in tiny_models(tmp_path, 40, first=first)]
    real = [model for model in shipped["models"] if model["name"] in zoo_names()]
    write_scenario(tmp_path / "scenario.yaml", [*real, *tiny, giant_entry()], includes=())
    written = yaml.safe_load((tmp_path / "scenario.yaml").read_text())["spec"]
    assert len(real) == first
    assert without_places(shipped["models"]) == without_places(written["models"])
    assert shipped["shardTypes"] == written["shardTypes"]
    assert shipped["policy"] == written["policy"]


def test_its_server_is_the_demos(tmp_path: Path) -> None:
    write_catalog(tmp_path / "server.yaml", shipped_catalogue().runtimes["triton"])
    written = yaml.safe_load((tmp_path / "server.yaml").read_text())["spec"]
    assert yaml.safe_load(SHIPPED.read_text())["spec"]["catalog"] == written

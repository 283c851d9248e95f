"""The JSON Schemas that ship with the package, generated from the shapes.

``python -m planner.scenario.schema`` writes them; a test keeps the files equal to what the shapes say.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from planner.scenario.files import write_atomic
from planner.scenario.plan_shape import PlanShape
from planner.scenario.scenario_shape import CatalogShape, ScenarioShape

SCHEMA_FOLDER = Path(__file__).parent / "schemas"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_texts() -> dict[str, str]:
    """Return the text of every schema by its file's name."""
    schemas = {
        "scenario.schema.json": _with_use(ScenarioShape.model_json_schema()),
        "catalog.schema.json": _with_use(CatalogShape.model_json_schema()),
        "plan.schema.json": PlanShape.model_json_schema(),
    }
    return {
        name: json.dumps({"$schema": _DIALECT, **schema}, indent=2, sort_keys=True) + "\n"
        for name, schema in schemas.items()
    }


def _with_use(schema: dict[str, Any]) -> dict[str, Any]:
    """Let a shard type be either whole, or a reference with any of its fields.

    The loader merges a reference into what it names before it checks the shape, so that the shape itself
    knows only whole ones.
    """
    result = copy.deepcopy(schema)
    definitions = result["$defs"]
    parts = ("ShardTypeShape", "DevicesShape", "ResourcesShape")
    for name in parts:
        partial = copy.deepcopy(definitions[name])
        partial["required"] = ["use"] if name == "ShardTypeShape" else []
        partial["title"] = f"{name}Override"
        definitions[f"{name}Override"] = _redirected(partial, parts)
    definitions["ShardTypeShapeOverride"]["properties"]["use"] = {"type": "string"}
    spec = next(name for name in ("ScenarioSpec", "CatalogSpec") if name in definitions)
    definitions[spec]["properties"]["shardTypes"]["items"] = {
        "anyOf": [{"$ref": "#/$defs/ShardTypeShape"}, {"$ref": "#/$defs/ShardTypeShapeOverride"}]
    }
    return result


def _redirected(value: Any, parts: tuple[str, ...]) -> Any:
    """Return a schema whose references to the given parts lead to their overrides."""
    if isinstance(value, dict):
        name = str(value.get("$ref", "")).removeprefix("#/$defs/")
        if name in parts:
            return {**value, "$ref": f"#/$defs/{name}Override"}
        return {key: _redirected(inner, parts) for key, inner in value.items()}
    return [_redirected(inner, parts) for inner in value] if isinstance(value, list) else value


def write_schemas(folder: Path = SCHEMA_FOLDER) -> None:
    """Write every schema to a folder."""
    for name, text in schema_texts().items():
        write_atomic(folder / name, text)


if __name__ == "__main__":
    write_schemas()

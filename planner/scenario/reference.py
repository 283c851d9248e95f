"""The reference of the formats for people: the tables of ``docs/scenario.md``, made from the schemas.

``python -m planner.scenario.reference docs/scenario.md`` writes them between the page's markers; a test keeps
the page equal to what the shapes say.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from planner.scenario.files import write_atomic
from planner.scenario.flat import FLAT_FIELDS
from planner.scenario.plan_shape import PlanShape
from planner.scenario.scenario_shape import CatalogShape, ScenarioShape
from planner.scenario.shapes import Shape
from planner.scenario.trained_models import annotation_of

_BLOCK = re.compile(r"(<!-- (?P<name>[a-z]+): generated -->\n).*?(<!-- end -->)", re.DOTALL)
_NO_LIMIT = 2**31 - 1


def page(text: str) -> str:
    """Return a page with the tables between its markers renewed."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{_block(found['name'])}\n{found[3]}", text)


def _block(name: str) -> str:
    match name:
        case "scenario":
            return _document(ScenarioShape)
        case "catalog":
            return _document(CatalogShape, known=ScenarioShape)
        case "plan":
            return _document(PlanShape)
        case "columns":
            return _columns()
    raise ValueError(f"there is no table {name!r}")


# ------------------------------------------------------------------------------------- fields of a document


def _document(shape: type[Shape], *, known: type[Shape] | None = None) -> str:
    """Return a section for every mapping of a document; those that ``known`` has too are left out."""
    schema = shape.model_json_schema()
    definitions: dict[str, Any] = schema.get("$defs", {})
    left_out = set() if known is None else set(known.model_json_schema()["$defs"])
    sections = [
        _section(path, part)
        for path, name, part in _walk(schema, definitions)
        if name not in left_out or not path
    ]
    return "\n".join(sections)


def _walk(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every mapping once, with the path at which it is met first."""
    seen: set[str] = set()
    waiting = [("", "", schema)]
    while waiting:
        path, name, part = waiting.pop(0)
        yield path, name, part
        inner = []
        for field, value in part["properties"].items():
            for reference, suffix in _references(value, ""):
                if reference not in seen:
                    seen.add(reference)
                    below = f"{path}.{field}{suffix}".lstrip(".")
                    inner.append((below, reference, definitions[reference]))
        waiting = inner + waiting


def _references(value: Any, suffix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].removeprefix("#/$defs/"), suffix
        yield from _references(value.get("items"), f"{suffix}[]")
        for choice in value.get("anyOf", ()):
            yield from _references(choice, suffix)


def _section(path: str, part: dict[str, Any]) -> str:
    required = set(part.get("required", ()))
    rows = [
        (f"`{name}`", _value(field), _default(field, required=name in required), _sentence(field))
        for name, field in part["properties"].items()
    ]
    head = f"### `{path}`\n\n" if path else ""
    return f"{head}{_sentence(part)}\n\n{_table(('field', 'value', 'default', 'meaning'), rows)}\n"


def _sentence(part: dict[str, Any]) -> str:
    return " ".join(part.get("description", "").split()).replace("|", "\\|")


def _default(field: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    default = field.get("default")
    if default is None or default in ({}, []) or "$ref" in field:
        return ""
    return f"`{json.dumps(default) if not isinstance(default, str) else default}`" if default != "" else ""


def _value(field: dict[str, Any]) -> str:
    """Return what may be written, as ``whole number, 1 to 1024`` or ``quantity, as `16Gi```."""
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    if "examples" in field:
        shown = " or ".join(f"`{_example(item)}`" for item in field["examples"])
        return f"as {shown}"
    if choices:
        return " or ".join(_value(choice) for choice in choices)
    if "$ref" in field:
        return "mapping"
    if words := field.get("enum", [field["const"]] if "const" in field else []):
        return ", ".join(f"`{word}`" for word in words)
    return _of_type(field)


def _example(item: Any) -> str:
    return item if isinstance(item, str) else json.dumps(item).replace('"', "")


def _of_type(field: dict[str, Any]) -> str:
    match field.get("type"):
        case "array":
            return f"list of {_plural(_value(field['items']))}"
        case "object":
            values = [field.get("additionalProperties"), *field.get("patternProperties", {}).values()]
            inner = next(item for item in values if isinstance(item, dict))
            return f"names, each: {_value(inner)}"
        case "integer":
            return f"whole number{_range(field)}"
        case "number":
            return f"number{_range(field)}"
        case "boolean":
            return "`true`, `false`"
    return "text"


def _plural(value: str) -> str:
    """Return ``mappings``; texts and what is spelt out stay as they are."""
    return "mappings" if value.startswith("mapping") else value


def _range(field: dict[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    above = field.get("exclusiveMinimum")
    parts = []
    if above is not None:
        parts.append(f"above {above:g}")
    elif low is not None:
        parts.append(f"from {low:,}")
    if high is not None and high < _NO_LIMIT:
        parts.append(f"to {high:,}")
    return f", {' '.join(parts)}" if parts else ""


# -------------------------------------------------------------------------- columns and annotations of models


def _columns() -> str:
    rows = []
    for name, field in FLAT_FIELDS.items():
        where = ".".join(("footprints[]", *field.path) if field.option else field.path)
        annotation = annotation_of(name)
        rows.append((f"`{name}`", f"`{annotation}`" if annotation else "", f"`{where}`"))
    rows.append(("`extra.<resource>`", "", "`footprints[].extra.<resource>`"))
    return _table(("column of a table", "annotation of a TrainedModel", "field of the model"), rows)


def _table(headers: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headers, tuple("---" for _ in headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write_atomic(target, page(target.read_text(encoding="utf-8")))

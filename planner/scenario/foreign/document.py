"""What was imported, as a scenario's document."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from planner.scenario.catalogue import shipped_catalogue
from planner.scenario.dump import model_document
from planner.scenario.foreign.collect import Imported
from planner.scenario.scenario_shape import API_VERSION


def imported_document(
    imported: Imported, *, name: str, namespace: str, uses: Iterable[str] = ()
) -> dict[str, Any]:
    """Return a scenario with what was imported.

    Parameters
    ----------
    imported
        Models and shard types; models are sorted by name.
    name, namespace
        Of the scenario. Where another scenario includes it they are for people.
    uses
        Shard types of the catalogue that are added.
    """
    models = sorted(imported.models, key=lambda model: model.name)
    shard_types = [*imported.shard_types, *({"name": use, "use": use} for use in uses)]
    return {
        "apiVersion": API_VERSION,
        "kind": "Scenario",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            **_catalog(imported),
            **({"shardTypes": shard_types} if shard_types else {}),
            "models": [_short(model_document(model)) for model in models],
        },
    }


def unknown_backends(imported: Imported) -> tuple[str, ...]:
    """Return the backends of models that the shipped catalogue does not know, sorted."""
    known = shipped_catalogue().backends
    return tuple(sorted({model.backend for model in imported.models} - set(known)))


def _catalog(imported: Imported) -> dict[str, Any]:
    """Return what the catalogue lacks: backends of which nothing is known, and that is said."""
    source = "imported; what it costs beside its models is not known"
    found = [{"name": name, "source": source} for name in unknown_backends(imported)]
    return {"catalog": {"backends": found}} if found else {}


def document_text(document: dict[str, Any], *, as_json: bool) -> str:
    """Return a document as JSON, one model a line, or as YAML."""
    if not as_json:
        import yaml

        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        text: str = yaml.dump(
            document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
        )
        return text
    spec = document["spec"]
    rest = json.dumps({**document, "spec": {**spec, "models": []}}, indent=2, ensure_ascii=False)
    rows = ",\n".join(f"      {json.dumps(model, ensure_ascii=False)}" for model in spec["models"])
    return rest.replace('"models": []', f'"models": [\n{rows}\n    ]' if rows else '"models": []') + "\n"


def _short(model: dict[str, Any]) -> dict[str, Any]:
    """Return a model without the fields that say what goes without saying."""
    ones = ("replicas", "devicesPerReplica", "batch", "instances")
    footprints = [
        {key: value for key, value in option.items() if not (key in ones and value == 1)}
        for option in model["footprints"]
    ]
    fields = {key: value for key, value in model.items() if not (key in ones and value == 1)}
    return {**fields, "footprints": footprints}

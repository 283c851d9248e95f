"""The annotation ``shardpack.dev/model``: what a TrainedModel has no field for, in the words of a scenario.

Plans' manifests write it, the controller and the readers of TrainedModels read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from planner.domain.model import Model
from planner.scenario.dump import model_document

ANNOTATION_MODEL = "shardpack.dev/model"
"""On a TrainedModel: JSON of the scenario's fields of a model that a TrainedModel has none for."""

OWN_FIELDS = ("name", "storageUri", "framework")
"""Fields of a model that the object itself says."""


class AnnotationError(ValueError):
    """The annotation is not what it should be."""


def model_annotation(model: Model) -> str:
    """Return the annotation of a model: with the object's own fields it is read as the same model.

    A footprint without host memory says so: of one that says nothing ``spec.model.memory`` would be it.
    """
    said = {name: value for name, value in model_document(model).items() if name not in OWN_FIELDS}
    said["footprints"] = [{"memory": "0", **option} for option in said["footprints"]]
    return json.dumps(said, sort_keys=True, separators=(",", ":"))


def read_model_annotation(annotations: Mapping[str, str], *, memory: object) -> dict[str, Any] | None:
    """Return the fields of a model that a TrainedModel's annotation says; None where there is no annotation.

    Parameters
    ----------
    annotations
        All of the object's.
    memory
        ``spec.model.memory``: the host memory of footprints that say none.

    Raises
    ------
    AnnotationError
        It is not JSON of an object, says what the object itself says, or its footprints are no list.
    """
    text = annotations.get(ANNOTATION_MODEL)
    if text is None:
        return None
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"not JSON: {error}") from None
    if not isinstance(said, dict):
        raise AnnotationError("expected an object")
    own = next((field for field in OWN_FIELDS if field in said), None)
    if own is not None:
        raise AnnotationError(f"{own} is the object's own to say")
    if "footprints" in said:
        footprints = said["footprints"]
        if not isinstance(footprints, list):
            raise AnnotationError("footprints: expected a list")
        option = {"memory": memory, "source": "declared"}
        said["footprints"] = [{**option, **item} if isinstance(item, dict) else item for item in footprints]
    return said

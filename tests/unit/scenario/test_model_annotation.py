"""What a TrainedModel says in the annotation of its model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from planner.domain.model import Model
from planner.scenario.load import load_scenario
from planner.scenario.model_annotation import (
    ANNOTATION_MODEL,
    AnnotationError,
    model_annotation,
    read_model_annotation,
)
from planner.scenario.resolve import model_of
from planner.scenario.scenario_shape import ModelShape
from tests.support.builders import MIB, a_model, an_option

SHIPPED = sorted((Path(__file__).parents[3] / "scenarios").glob("*.yaml"))


def read_back(model: Model) -> Model:
    """The model that its annotation and the object's own fields say."""
    said = read_model_annotation({ANNOTATION_MODEL: model_annotation(model)}, memory="7Gi")
    own = {"name": model.name, "storageUri": model.storage_uri}
    return model_of(ModelShape.model_validate({**(said or {}), **own}))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_model_that_is_shipped_is_read_back_as_it_was(path: Path) -> None:
    models = load_scenario(path).models
    assert models
    for model in models[:: 1 + len(models) // 500]:
        assert read_back(model) == dataclasses.replace(model, framework=None)
        assert len(model_annotation(model)) < 2_000


def test_host_memory_that_nobody_stated_stays_none() -> None:
    model = a_model("m", an_option(gpu=MIB))
    assert model.footprints[0].memory_bytes.p95 == 0
    assert read_back(model).footprints[0].memory_bytes.p95 == 0


def test_the_text_is_short_and_sorted() -> None:
    text = model_annotation(a_model("m", an_option(gpu=MIB)))
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    assert json.loads(text).keys().isdisjoint({"name", "storageUri", "framework"})


def test_an_object_without_the_annotation_says_nothing() -> None:
    assert read_model_annotation({}, memory="1Gi") is None


@pytest.mark.parametrize("footprints", ["5", "true", "{}", "null", '"x"'])
def test_footprints_that_are_no_list_are_refused(footprints: str) -> None:
    with pytest.raises(AnnotationError, match="footprints: expected a list"):
        read_model_annotation({ANNOTATION_MODEL: f'{{"footprints": {footprints}}}'}, memory="1Gi")

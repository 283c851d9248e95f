"""A fleet of shards without GPUs, models that real Triton servers load in no time, and a question to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3

from planner.cluster import Kube
from planner.cluster.resources import CONFIG_MAPS, INFERENCE_SERVICES, TRAINED_MODELS
from tests.support.agent_models import model_folder
from tests.support.controllers import eventually
from tests.support.memory_cluster import a_trained_model
from tests.support.model_traffic import QUESTION

FLEET = """\
apiVersion: shardpack.dev/v1alpha1
kind: Scenario
metadata: {{name: news, namespace: {namespace}}}
spec:
  catalog:
    backends: [{{name: sim}}]
    runtimes: [{{name: triton}}]
  shardTypes:
    - name: plain
      runtime: triton
      devices: {{class: cpu}}
      resources: {{cpu: "4", memory: 8Gi}}
      pricePerHour: 0.5
      group: news
      maxModels: {max_models}
{more}"""


def offer(kube: Kube, namespace: str, *, max_models: int = 20, more: str = "") -> None:
    """Put the fleet in the place of the one that is there."""
    text = FLEET.format(namespace=namespace, max_models=max_models, more=more)
    kube.patch(CONFIG_MAPS, "fleet", {"data": {"scenario.yaml": text}}, namespace=namespace)


def is_open(kube: Kube, namespace: str) -> bool:
    """Whether a shard is there."""
    return bool(kube.list(INFERENCE_SERVICES, namespace=namespace).items)


def bring(
    kube: Kube,
    namespace: str,
    name: str,
    *,
    store: Path,
    memory: str = "20Mi",
    says: Mapping[str, Any] | None = None,
    parameters: dict[str, str] | None = None,
) -> None:
    """Write a model's files and create its TrainedModel, once a shard is open."""
    eventually(lambda: is_open(kube, namespace))
    uri = model_folder(store / name, parameters=parameters)
    item = a_trained_model(name, memory=memory, uri=uri, says=says, namespace=namespace)
    item["spec"]["model"]["framework"] = "sim"
    kube.create(TRAINED_MODELS, item)


def asked(url: str, model: str) -> Any:
    """What a model answers to a 7: its number, or the HTTP status where that is another than 200.

    None while nobody listens: a gateway takes a moment to begin.
    """
    try:
        answer = urllib3.request("POST", f"{url}/v2/models/{model}/infer", body=QUESTION, retries=False)
    except urllib3.exceptions.NewConnectionError:
        return None
    if answer.status != 200:
        return answer.status
    said = json.loads(answer.data)
    assert said["model_name"] == model
    return said["outputs"][0]["data"][0]

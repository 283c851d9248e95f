"""What the tests of the command line share: small scenarios, where files are, and how to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from click.testing import Result

Run = Callable[..., Result]

SCENARIO = """\
apiVersion: shardpack.dev/v1alpha1
kind: Scenario
metadata: {name: news, namespace: models}
spec:
  catalog:
    deviceClasses:
      - {name: tiny-gpu, kind: gpu, memory: 16Gi, product: Tiny-GPU, source: invented for a test}
  shardTypes:
    - name: gpu
      runtime: triton
      devices: {class: tiny-gpu, count: 1}
      resources: {cpu: "8", memory: 32Gi}
      overhead: {cpu: 500m, memory: 500Mi}
      pricePerHour: 0.5
      maxCount: 4
      group: news
  models:
    - name: sports
      backend: onnxruntime
      storageUri: s3://models/sports
      replicas: 2
      footprints:
        - {class: tiny-gpu, gpuMemory: {steady: {p50: 2Gi, p95: 3Gi}, loadPeak: 4Gi}, cpu: 100m, memory: 1Gi}
    - name: politics
      backend: onnxruntime
      storageUri: s3://models/politics
      footprints:
        - {class: tiny-gpu, gpuMemory: 2Gi, cpu: 100m, memory: 1Gi}
"""

HUGE = """\
    - name: huge
      backend: onnxruntime
      storageUri: s3://models/huge
      footprints:
        - {class: tiny-gpu, gpuMemory: 40Gi, cpu: 100m, memory: 1Gi}
"""


@dataclass(frozen=True)
class Files:
    """A scenario, one with a model that fits nowhere, one with faults, and room for what is written."""

    folder: Path
    scenario: str
    too_small: str
    broken: str

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def tight(self) -> str:
        """Return a scenario of which one replica is refused: one shard more would hold it."""
        path = self.folder / "tight.yaml"
        path.write_text(SCENARIO.replace("maxCount: 4", "maxCount: 1"), encoding="utf-8")
        return str(path)

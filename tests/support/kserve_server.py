"""A KServe Python server with a repository of small models; it runs in an environment that has kserve.

A model is the one file in its folder, ``model.json``: ``{"factor": 2}``; ``fail`` makes its load fail with a
text, ``load_s`` takes so many seconds, in which the server's event loop stands still, as SKLearn's does.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.model_repository import ModelRepository


class Multiplier(Model):
    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self._folder = folder
        self._factor = 0.0

    def load(self) -> bool:
        (path,) = self._folder.glob("*.json")
        settings = json.loads(path.read_text())
        time.sleep(settings.get("load_s", 0))
        if "fail" in settings:
            raise RuntimeError(settings["fail"])
        self._factor = settings["factor"]
        self.ready = True
        sys.stdout.write(f"successfully loaded '{self.name}'\n")
        sys.stdout.flush()
        return self.ready

    def predict(self, payload, headers=None, response_headers=None):
        values = [value * self._factor for value in payload.inputs[0].data]
        output = InferOutput(name="Y", shape=[len(values)], datatype="FP64", data=values)
        return InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=[output])


class Repository(ModelRepository):
    def load(self, name: str) -> bool:
        model = Multiplier(name, Path(self.models_dir) / name)
        if model.load():
            self.update(model)
        return model.ready


if __name__ == "__main__":
    ModelServer(
        http_port=int(sys.argv[2]), enable_grpc=False, workers=1, registered_models=Repository(sys.argv[1])
    ).start([])

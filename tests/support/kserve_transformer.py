"""A transformer of KServe's: one ModelServer for every model of a group; it runs where kserve is installed.

What comes in times ``FACTOR`` goes on to ``--predictor_host``. Names are not told beforehand: a model is
there as soon as somebody asks for it.
"""

from __future__ import annotations

import os

from kserve import Model, ModelServer
from kserve.model_repository import ModelRepository


class Scale(Model):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True

    async def preprocess(self, payload, headers=None):
        for tensor in payload.inputs:
            tensor.data = [value * float(os.environ["FACTOR"]) for value in tensor.data]
        return payload


class EveryModel(ModelRepository):
    def get_model(self, name):
        if name not in self.models:
            self.update(Scale(name))
        return self.models[name]


if __name__ == "__main__":
    ModelServer(registered_models=EveryModel()).start([])

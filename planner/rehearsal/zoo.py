"""Real small models, trained here on data that scikit-learn carries, as folders for Triton's python backend.

Five data sets times six ways of learning make thirty models. Each keeps a few rows and the answers that the
model itself gave for them in this process, so that a served model can be checked against its own prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA_SETS = ("breast-cancer", "diabetes", "digits", "iris", "wine")
LEARNERS = ("forest", "lightgbm", "linear", "neighbors", "onnx", "xgboost")
SAMPLE_ROWS = 4

# The python-backend model of every zoo model: it finds out by the file's name which library loads it.
_SERVING_CODE = '''\
"""Serves one small model: the file beside this one says which library loads it."""

import os

import numpy as np
import triton_python_backend_utils as pb_utils


def load(folder):
    files = os.listdir(folder)
    if "model.joblib" in files:
        import joblib

        model = joblib.load(os.path.join(folder, "model.joblib"))
        return model.predict_proba if hasattr(model, "predict_proba") else model.predict
    if "model.lightgbm" in files:
        import lightgbm

        return lightgbm.Booster(model_file=os.path.join(folder, "model.lightgbm")).predict
    if "model.xgboost.json" in files:
        import xgboost

        booster = xgboost.Booster(model_file=os.path.join(folder, "model.xgboost.json"))
        return lambda rows: booster.predict(xgboost.DMatrix(rows))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return lambda rows: session.run(None, {"X": rows})[-1]


class TritonPythonModel:
    def initialize(self, args):
        self.predict = load(os.path.join(args["model_repository"], args["model_version"]))

    def execute(self, requests):
        responses = []
        for request in requests:
            rows = pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy()
            answer = np.asarray(self.predict(rows), dtype=np.float32).reshape(len(rows), -1)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", answer)]))
        return responses
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooModel:
    """A trained model on disk, and what it answers.

    Parameters
    ----------
    name
        ``<data set>-<learner>``.
    folder
        Its folder, laid out for a Triton model repository.
    rows
        Sample inputs, ``(SAMPLE_ROWS, features)``.
    answers
        The model's own predictions for them, ``(SAMPLE_ROWS, outputs)``.
    """

    name: str
    folder: Path
    rows: tuple[tuple[float, ...], ...]
    answers: tuple[tuple[float, ...], ...]


def train_zoo(directory: Path, names: tuple[str, ...] | None = None) -> Iterator[ZooModel]:
    """Train the zoo's models, or those named, into ``directory``, one folder each.

    Raises
    ------
    KeyError
        A name is not one of the zoo's.
    """
    for name in names if names is not None else zoo_names():
        data_set, _, learner = name.rpartition("-")
        yield _train(directory / name, name, *_data(data_set), _LEARN[learner])


def zoo_names() -> tuple[str, ...]:
    """Return the names of all models of the zoo, sorted."""
    return tuple(f"{data_set}-{learner}" for data_set in DATA_SETS for learner in LEARNERS)


def _train(folder: Path, name: str, rows: Any, target: Any, learn: Learn) -> ZooModel:
    import numpy as np

    version = folder / "1"
    version.mkdir(parents=True)
    predict = learn(rows, target, version)
    sample = rows[:: max(1, len(rows) // SAMPLE_ROWS)][:SAMPLE_ROWS]
    answers = np.asarray(predict(sample), dtype=np.float32).reshape(len(sample), -1)
    (version / "model.py").write_text(_SERVING_CODE)
    (folder / "config.pbtxt").write_text(_config(name, sample.shape[1], answers.shape[1]))
    return ZooModel(
        name=name,
        folder=folder,
        rows=tuple(tuple(map(float, row)) for row in sample),
        answers=tuple(tuple(map(float, row)) for row in answers),
    )


def _config(name: str, features: int, outputs: int) -> str:
    return (
        f'name: "{name}"\nbackend: "python"\nmax_batch_size: 0\n'
        f'input [ {{ name: "INPUT0" data_type: TYPE_FP32 dims: [ -1, {features} ] }} ]\n'
        f'output [ {{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1, {outputs} ] }} ]\n'
    )


def _data(name: str) -> tuple[Any, Any]:
    """Return rows ``(n, features)`` as float32 and targets ``(n,)``: class numbers, or a float to regress."""
    import numpy as np
    from sklearn import datasets

    load = getattr(datasets, f"load_{name.replace('-', '_')}")
    rows, target = load(return_X_y=True)
    return np.ascontiguousarray(rows, dtype=np.float32), target


# ------------------------------------------------------------------------------------------------- learners

Predict = Callable[[Any], Any]
Learn = Callable[[Any, Any, Path], Predict]


def _regresses(target: Any) -> bool:
    return bool(target.dtype.kind == "f")


def _scikit(make: Callable[..., Any]) -> Learn:
    """Return a learner that fits what ``make(regression=...)`` returns and keeps it with joblib."""

    def learn(rows: Any, target: Any, version: Path) -> Predict:
        import joblib

        model = make(regression=_regresses(target)).fit(rows, target)
        joblib.dump(model, version / "model.joblib")
        predict: Predict = model.predict_proba if hasattr(model, "predict_proba") else model.predict
        return predict

    return learn


def _linear(*, regression: bool) -> Any:
    from sklearn import linear_model, pipeline, preprocessing

    model = linear_model.Ridge() if regression else linear_model.LogisticRegression(max_iter=2000)
    return pipeline.make_pipeline(preprocessing.StandardScaler(), model)


def _forest(*, regression: bool) -> Any:
    from sklearn import ensemble

    kind = ensemble.RandomForestRegressor if regression else ensemble.RandomForestClassifier
    return kind(n_estimators=20, max_depth=6, random_state=0)


def _neighbors(*, regression: bool) -> Any:
    from sklearn import neighbors

    return (neighbors.KNeighborsRegressor if regression else neighbors.KNeighborsClassifier)(n_neighbors=5)


def _learn_onnx(rows: Any, target: Any, version: Path) -> Predict:
    """Convert the linear model to ONNX and predict with ONNX Runtime, as the served copy will."""
    import onnxruntime
    import skl2onnx

    model = _linear(regression=_regresses(target)).fit(rows, target)
    options = {} if _regresses(target) else {id(model): {"zipmap": False}}
    graph = skl2onnx.to_onnx(model, rows[:1], options=options).SerializeToString()
    (version / "model.onnx").write_bytes(graph)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"X": batch})[-1]


def _learn_lightgbm(rows: Any, target: Any, version: Path) -> Predict:
    import lightgbm

    kind = lightgbm.LGBMRegressor if _regresses(target) else lightgbm.LGBMClassifier
    booster = (
        kind(n_estimators=20, num_leaves=15, random_state=0, n_jobs=1, verbose=-1).fit(rows, target).booster_
    )
    booster.save_model(version / "model.lightgbm")
    predict: Predict = booster.predict
    return predict


def _learn_xgboost(rows: Any, target: Any, version: Path) -> Predict:
    import xgboost

    kind = xgboost.XGBRegressor if _regresses(target) else xgboost.XGBClassifier
    booster = kind(n_estimators=20, max_depth=4, random_state=0, n_jobs=1).fit(rows, target).get_booster()
    booster.save_model(version / "model.xgboost.json")
    return lambda batch: booster.predict(xgboost.DMatrix(batch))


_LEARN: dict[str, Learn] = {
    "forest": _scikit(_forest),
    "lightgbm": _learn_lightgbm,
    "linear": _scikit(_linear),
    "neighbors": _scikit(_neighbors),
    "onnx": _learn_onnx,
    "xgboost": _learn_xgboost,
}

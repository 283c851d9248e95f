"""Words of other systems for the formats of models and for servers, and ours for them."""

from __future__ import annotations

from collections.abc import Iterable

BACKENDS = {
    "dali": "dali",
    "fil": "fil",
    "keras": "tensorflow",
    "lightgbm": "lightgbm",
    "mlflow": "mlflow",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "openvino_ir": "openvino",
    "python": "python",
    "pytorch": "pytorch",
    "sklearn": "sklearn",
    "tensorflow": "tensorflow",
    "tensorrt": "tensorrt",
    "xgboost": "xgboost",
}
"""The backend of a format, where it is called otherwise or where there is one at all."""

# Triton has one backend for trees, whoever trained them.
_TREES = {"sklearn", "xgboost", "lightgbm"}

_SERVERS = ("triton", "mlserver", "sklearn", "xgboost", "lightgbm")
"""Words of a runtime's name that tell the server; the first that is found."""


def backend_of(model_format: str, *, server: str | None) -> str:
    """Return the backend that serves a format; one that is not known keeps its name."""
    name = model_format.lower()
    if server == "triton" and name in _TREES:
        return "fil"
    return BACKENDS.get(name, name)


def server_of(*names: object) -> str | None:
    """Return the model server that the name of a runtime tells; None if it tells none of ours."""
    text = " ".join(name.lower() for name in names if isinstance(name, str))
    return next((server for server in _SERVERS if server in text), None)


def format_in(words: Iterable[object]) -> str | None:
    """Return the first of a model's requirements that names a format, its version left out."""
    for word in words:
        name = word.lower().split("-")[0] if isinstance(word, str) else ""
        if name in BACKENDS or name == "huggingface":
            return name
    return None

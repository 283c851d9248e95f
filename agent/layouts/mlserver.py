"""MLServer: a ``model-settings.json`` that names the model, its runtime and its file.

https://mlserver.readthedocs.io/en/stable/reference/model-settings.html
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from agent.errors import PinError
from agent.layouts.port import Arrangement, Asked, only_version, refuse_devices

SETTINGS = "model-settings.json"
_LARGEST = 1 << 20
_MARK = "shardpack"

# A framework's runtime, and the file names that it looks for in a folder; MLServer's "Inference Runtimes".
_RUNTIMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "sklearn": ("mlserver_sklearn.SKLearnModel", ("model.joblib", "model.pickle", "model.pkl")),
    "xgboost": ("mlserver_xgboost.XGBoostModel", ("model.bst", "model.json", "model.ubj")),
    "lightgbm": ("mlserver_lightgbm.LightGBMModel", ("model.bst",)),
    "mlflow": ("mlserver_mlflow.MLflowRuntime", ()),
}


def lay_out(asked: Asked) -> Arrangement:
    """Return the settings that the model's own become with its name, or those that its framework needs.

    The server finds a model by the name in any ``model-settings.json`` of the whole repository, so that every
    one in the model's folder gets the model's.

    Raises
    ------
    PinError
        The model is pinned to a GPU, its settings cannot be read, or it has none and its framework is not one
        for which they can be written.
    """
    refuse_devices(asked.pin, server="MLServer")
    brought = {path: _read(asked.folder / path) for path in _settings_files(asked.folder)}
    own = {path: settings for path, settings in brought.items() if not _is_ours(settings)}
    if not own:
        return Arrangement(files={SETTINGS: _dumped(_made(asked))})
    renamed = {
        path: _dumped({**settings, "name": asked.name})
        for path, settings in own.items()
        if settings.get("name") != asked.name
    }
    return Arrangement(files=renamed)


def _settings_files(folder: Path) -> list[str]:
    found = [
        os.path.relpath(Path(parent) / SETTINGS, folder)
        for parent, _, files in os.walk(folder)
        if SETTINGS in files
    ]
    return sorted(found)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise PinError("BadConfig", f"{SETTINGS} is larger than {_LARGEST} bytes")
        settings = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise PinError("BadConfig", f"{SETTINGS} is not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise PinError("BadConfig", f"{SETTINGS} is not an object")
    return settings


def _is_ours(settings: dict[str, Any]) -> bool:
    parameters = settings.get("parameters")
    extra = parameters.get("extra") if isinstance(parameters, dict) else None
    return isinstance(extra, dict) and extra.get(_MARK) is True


def _made(asked: Asked) -> dict[str, Any]:
    runtime = _RUNTIMES.get(asked.framework.lower())
    if runtime is None:
        raise PinError(
            "NoConfig",
            f"the model has no {SETTINGS} and framework {asked.framework!r} does not tell MLServer's runtime",
        )
    implementation, names = runtime
    return {
        "name": asked.name,
        "implementation": implementation,
        "parameters": {"uri": _uri(asked.folder, names), "extra": {_MARK: True}},
    }


def _uri(folder: Path, names: tuple[str, ...]) -> str:
    """Return the file to load, or the folder where the runtime finds it by name or takes all of it."""
    version = only_version(folder)
    home = folder if version is None else folder / version
    base = "." if version is None else f"./{version}"
    files = sorted(entry.name for entry in home.iterdir() if entry.is_file() and entry.name != SETTINGS)
    if not names or any(name in files for name in names) or len(files) != 1:
        return base
    return f"{base}/{files[0]}"


def _dumped(settings: dict[str, Any]) -> bytes:
    return (json.dumps(settings, indent=2) + "\n").encode()

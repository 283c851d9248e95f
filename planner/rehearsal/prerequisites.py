"""What a rehearsal needs of the machine, looked at before anything is begun: every lack is told at once."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from planner.errors import Fault, InputError
from planner.rehearsal.build import find_compiler
from planner.rehearsal.triton_files import find_triton

# Module and distribution; they are the dependency group `demo`.
LIBRARIES = {
    "joblib": "joblib",
    "lightgbm": "lightgbm",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "skl2onnx": "skl2onnx",
    "sklearn": "scikit-learn",
    "xgboost": "xgboost-cpu",
}


def check_prerequisites(
    *, report: Path | None, folder: Path | None, libraries: Mapping[str, str] = LIBRARIES
) -> None:
    """Return if the demo, or a rehearsal, can begin.

    Parameters
    ----------
    report, folder
        Where its report and its files are to go; None is nowhere and a temporary folder.
    libraries
        The modules that the models need, and what each is installed as; a rehearsal's need none.

    Raises
    ------
    InputError
        It cannot; each fault says what to do about it.
    """
    faults = [*_lacks(libraries), *_bad_places(report, folder)]
    if faults:
        raise InputError(faults)


def _lacks(libraries: Mapping[str, str]) -> Iterator[Fault]:
    if sys.platform != "linux":
        yield Fault(path="", message="it runs on Linux only: Triton's wheel has no other server")
    missing = [package for module, package in libraries.items() if importlib.util.find_spec(module) is None]
    if missing:
        yield Fault(
            path="",
            message="the demo's models need libraries that are not installed; `make demo` in a clone installs"
            f" everything, or: python -m pip install {' '.join(missing)}",
        )
    for find in (find_compiler, find_triton):
        try:
            find()
        except InputError as error:
            yield from error.faults


def _bad_places(report: Path | None, folder: Path | None) -> Iterator[Fault]:
    if report is not None and not _can_write(report.resolve().parent):
        yield Fault(path="", message=f"{report.parent} is no folder that can be written, for {report.name}")
    if folder is None:
        return
    if folder.is_dir() and any(folder.iterdir()):
        yield Fault(path="", message=f"{folder} is not empty: name a new folder to keep the files in")
    elif folder.exists() and not folder.is_dir():
        yield Fault(path="", message=f"{folder} is a file: name a new folder to keep the files in")


def _can_write(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)

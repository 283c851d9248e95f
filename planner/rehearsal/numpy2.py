"""Make the python backend of Triton 2.51 work with numpy 2, which it silently misreads.

Its stubs were built with a pybind11 that looks for an array's item size where numpy 1 kept it. With numpy 2
it finds 0 there: outputs arrive empty, and ``as_numpy`` repeats an input's first number. DLPack does not look
there, so arrays are sent that way. This runs inside the stub, beside ``triton_python_backend_utils``
(``triton_files.make_backends`` puts it there), and imports nothing of ours.
"""

import ctypes
import sys
from types import ModuleType
from typing import Any

import numpy as np

# The name that a consumer gives a capsule, by the DLPack protocol; the stub gives it another one, and numpy
# would complain about each on stderr.
_CONSUMED = b"used_dltensor"
_set_capsule_name = ctypes.pythonapi.PyCapsule_SetName
_set_capsule_name.argtypes = [ctypes.py_object, ctypes.c_char_p]


class _AdaptingModule(ModuleType):
    """A module whose ``Tensor``, which the stub sets after the import, is replaced as it is set."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, _adapt_tensor(value) if name == "Tensor" else value)


def adapt(module: str) -> None:
    """Adapt the backend's utilities, given their module's name; numpy 1 needs nothing."""
    if int(np.__version__.partition(".")[0]) >= 2:
        sys.modules[module].__class__ = _AdaptingModule


def _adapt_tensor(tensor: Any) -> Any:
    tensor.as_numpy = _read

    class Tensor(tensor):  # type: ignore[misc]
        """Makes tensors of the stub's own class; nothing is ever an instance of this one."""

        def __new__(cls, name: str, array: Any) -> Any:
            return _write(tensor, name, array)

    return Tensor


def _read(tensor: Any) -> Any:
    """Return the tensor's content as an array of its own."""
    return np.array(np.from_dlpack(tensor))


def _write(tensor: Any, name: str, array: Any) -> Any:
    if array.dtype.kind not in "biuf":
        raise TypeError(f"output {name}: this server's python backend passes text only with numpy < 2")
    # A copy, since DLPack cannot export read-only memory.
    capsule = np.array(array, order="C").__dlpack__()
    made = tensor.from_dlpack(name, capsule)
    _set_capsule_name(capsule, _CONSUMED)
    return made

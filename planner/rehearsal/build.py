"""The native parts of a rehearsal, compiled on the machine that rehearses.

The C sources are in ``native/`` beside this file and travel in the wheel. They need gcc and the C library's
headers, nothing of NVIDIA's. A build is kept under the digest of its sources and flags, so it happens once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from planner.errors import Fault, InputError, ShardpackError

_log = logging.getLogger(__name__)

_SOURCES = Path(__file__).parent / "native"
_FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Library:
    """One shared object: where it goes, what it is made of."""

    file: str
    sources: tuple[str, ...]
    flags: tuple[str, ...] = ()


# pynvml asks the loader for libnvidia-ml.so.1, so that is the file's name, in a folder of its own.
_NVML = _Library(
    file="nvml/libnvidia-ml.so.1",
    sources=("sim_nvml.c", "simgpu.c"),
    flags=("-Wl,-soname,libnvidia-ml.so.1",),
)
_CUDART = _Library(file="libsimcudart.so", sources=("sim_cudart.c", "simgpu.c"))
_BACKEND = _Library(file="libtriton_sim.so", sources=("sim_backend.c", "json_text.c"))
_LIBRARIES = (_NVML, _CUDART, _BACKEND)
_LINKED = ("-lpthread", "-ldl")


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeParts:
    """The compiled libraries.

    Parameters
    ----------
    nvml
        The simulated NVML, named ``libnvidia-ml.so.1``.
    cudart
        The simulated CUDA runtime, to be preloaded.
    backend
        The Triton backend ``sim``.
    """

    nvml: Path
    cudart: Path
    backend: Path


def build_native(cache_dir: Path) -> NativeParts:
    """Compile the native parts, or find them compiled already.

    Parameters
    ----------
    cache_dir
        Where builds are kept; made if it is absent. Callers may share it at the same time.

    Raises
    ------
    InputError
        There is no gcc.
    ShardpackError
        gcc failed; its words are in the message.
    """
    target = cache_dir.resolve() / f"native-{_digest()}"
    if not target.is_dir():
        _build(target, compiler=find_compiler())
    return NativeParts(nvml=target / _NVML.file, cudart=target / _CUDART.file, backend=target / _BACKEND.file)


def _digest() -> str:
    """Return what names a build: a digest of everything that goes into it."""
    digest = hashlib.sha256(repr((_FLAGS, _LIBRARIES, _LINKED)).encode())
    for path in sorted(_SOURCES.glob("*.[ch]")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def find_compiler() -> str:
    """Return the path of gcc.

    Raises
    ------
    InputError
        There is none.
    """
    compiler = shutil.which("gcc")
    if compiler is None:
        message = "gcc is needed to build the simulated GPUs and is not on PATH (Debian: apt install gcc)"
        raise InputError([Fault(path="", message=message)])
    return compiler


def _build(target: Path, *, compiler: str) -> None:
    """Build beside ``target`` and rename, so that others see either nothing or all of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as name:
        parts = Path(name) / "parts"
        for library in _LIBRARIES:
            _compile(library, parts, compiler=compiler)
        try:
            parts.rename(target)
        except OSError:
            # A caller beside us was first; its build is equal to ours.
            if not target.is_dir():
                raise
    _log.info("built native parts", extra={"directory": os.fspath(target)})


def _compile(library: _Library, directory: Path, *, compiler: str) -> None:
    output = directory / library.file
    output.parent.mkdir(parents=True, exist_ok=True)
    sources = [os.fspath(_SOURCES / source) for source in library.sources]
    command = [compiler, *_FLAGS, *library.flags, "-o", os.fspath(output), *sources, *_LINKED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ShardpackError(f"gcc could not build {library.file}:\n{done.stderr.strip()}")

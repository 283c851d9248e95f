"""Loops over arrays that run as machine code, by numba.

A compiled function takes and returns numbers, arrays and named tuples of them, and is ordinary Python
besides: ``NUMBA_DISABLE_JIT=1`` runs it uncompiled, with the same results, for a debugger. Whole numbers are
int64 and wrap silently: what is added up here stays below ``problem.AMPLE``.

Machine code is kept beside the source (or in ``NUMBA_CACHE_DIR``), so only the first run on a machine waits
for it. Numba looks at the file of a function alone to see whether its machine code is old, but functions of
other files are compiled into it; so the place where it is kept is named after the sources of all of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])
_HERE = Path(__file__).parent


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(_HERE.rglob("*.py")):
        text = path.read_bytes()
        if b"compiled" in text:
            digest.update(text)
    return digest.hexdigest()[:12]


def _keep_machine_code() -> None:
    """Tell numba where to keep machine code; where nothing can be written it finds a place itself."""
    base = Path(os.environ.get("NUMBA_CACHE_DIR", _HERE / "__pycache__"))
    if os.access(base if base.exists() else base.parent, os.W_OK):
        folder = str(base / f"machine-code-{_sources_digest()}")
        numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]


_keep_machine_code()


def has_machine_code() -> bool:
    """Return whether an earlier run has compiled something here; the first one takes up to a minute more."""
    folder = Path(numba.config.CACHE_DIR or "")  # type: ignore[attr-defined]
    return bool(numba.config.DISABLE_JIT) or (  # type: ignore[attr-defined]
        folder != Path() and folder.is_dir() and any(folder.iterdir())
    )


def compiled(function: _Function) -> _Function:
    """Compile a function at its first call; it lets go of the interpreter's lock while it runs."""
    return cast(_Function, numba.njit(cache=True, nogil=True)(function))

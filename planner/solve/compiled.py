"""Loops over arrays that run as machine code, by numba.

A compiled function takes and returns numbers, arrays and named tuples of them, and is ordinary Python
besides: ``NUMBA_DISABLE_JIT=1`` runs it uncompiled, with the same results, for a debugger. Whole numbers are
int64 and wrap silently: what is added up here stays below ``problem.AMPLE``.

Machine code is kept beside the source (or in ``NUMBA_CACHE_DIR``), so only the first run on a machine waits
for it; where nothing can be written, every run does. Numba looks at the file of a function alone to see
whether its machine code is old, but functions of other files, and values of constants, are compiled into it;
so the place where it is kept is named after the sources of all of them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])
_HERE = Path(__file__).parent
_PACKAGE = _HERE.parent

_USE = re.compile(rb"^@compiled$", re.MULTILINE)
_IMPORT = re.compile(rb"^(?:from|import) planner\.((?:solve|online)[\w.]*)", re.MULTILINE)


def sources_digest(package: Path) -> str:
    """Return what stands for the sources that machine code of a package depends on.

    Those are the modules with compiled functions and, because the values of constants become part of the
    machine code, the modules of the solver and of online placement that they import, directly or not.
    """
    texts = {path: path.read_bytes() for path in package.rglob("*.py")}
    waiting = [path for path, text in texts.items() if _USE.search(text)]
    used: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in texts and path not in used:
            used.add(path)
            names = (match.decode() for match in _IMPORT.findall(texts[path]))
            waiting += [package / f"{name.replace('.', '/')}.py" for name in names]
    digest = hashlib.sha256()
    for path in sorted(used):
        digest.update(texts[path])
    return digest.hexdigest()[:12]


def _keep_machine_code() -> None:
    """Tell numba where to keep machine code; where nothing can be written it finds a place itself."""
    base = Path(os.environ.get("NUMBA_CACHE_DIR", _HERE / "__pycache__"))
    if os.access(base if base.exists() else base.parent, os.W_OK):
        folder = str(base / f"machine-code-{sources_digest(_PACKAGE)}")
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
    try:
        return cast(_Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # there is no place where machine code can be kept
        return cast(_Function, numba.njit(nogil=True)(function))

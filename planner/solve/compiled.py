"""Loops over arrays that run as machine code, by numba.

A compiled function takes and returns numbers, arrays and named tuples of them, and is ordinary Python
besides: ``NUMBA_DISABLE_JIT=1`` runs it uncompiled, with the same results, for a debugger. Machine code is
kept beside the source (or in ``NUMBA_CACHE_DIR``), so only the first run on a machine waits for it. Whole
numbers are int64 and wrap silently: what is added up here stays below ``problem.AMPLE``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile a function at its first call; it lets go of the interpreter's lock while it runs."""
    return cast(_Function, numba.njit(cache=True, nogil=True)(function))

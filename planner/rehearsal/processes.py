"""Processes that end with the one that started them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launcher.py")


def dying_with_us() -> tuple[str, ...]:
    """Return what to put before a command, program path first, so that it is killed when this process ends.

    Linux sends that signal when the *thread* that started the command ends, so start it from one that stays.
    """
    return (sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()))

"""Become another program that dies with its parent: ``launcher.py PARENT_PID PROGRAM ARGUMENTS...``.

Run by path with ``python -I -S``, so it imports nothing of the project. The kernel keeps the wish across the
exec (prctl(2), PR_SET_PDEATHSIG); a ``preexec_fn`` would do the same but is unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    """Ask for the parent's death signal, make sure that the parent still lives, and become the program."""
    parent, program = int(arguments[0]), arguments[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent is gone already")
    os.execv(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])

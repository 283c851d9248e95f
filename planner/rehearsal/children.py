"""Child processes that never outlive this one, not even when it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launcher.py")


def start_child(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own; the kernel kills it when this process ends.

    Parameters
    ----------
    command
        The program, by its path, and its arguments.
    log
        Where its stdout and stderr are appended.
    environment
        Its whole environment; None hands on this process's.
    """
    variables = dict(os.environ if environment is None else environment)
    return _starter().submit(_spawn, tuple(command), variables, log).result()


@cache
def _starter() -> ThreadPoolExecutor:
    """Return the one thread that starts children.

    Linux sends the parent's death signal when the *thread* that made the child ends (prctl(2)), so children
    must not be started from threads that end before they do. This one lives as long as the interpreter.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="child-starter")


def _spawn(command: tuple[str, ...], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    launcher = (sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()))
    with log.open("ab") as output:
        return subprocess.Popen(
            [*launcher, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

"""What a machine has beside its GPUs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from planner.errors import ShardpackError


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """CPU that this process may use, in milli-cores, and the machine's memory."""

    cpu_milli: int
    memory_bytes: int


def read_host(meminfo: Path = Path("/proc/meminfo")) -> Host:
    """Return this machine's CPU and memory, as Linux tells them.

    Raises
    ------
    ShardpackError
        ``meminfo`` does not say how much memory there is.
    """
    try:
        text = meminfo.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ShardpackError(
            f"{meminfo}: how much memory this machine has cannot be read: {error}"
        ) from error
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        fields = rest.split()
        if key == "MemTotal" and len(fields) == 2 and fields[0].isdigit() and fields[1] == "kB":
            return Host(cpu_milli=1000 * len(os.sched_getaffinity(0)), memory_bytes=int(fields[0]) * 1024)
    raise ShardpackError(f"{meminfo}: no line says MemTotal in kB")

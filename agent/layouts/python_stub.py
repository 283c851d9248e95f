"""A program that starts a python model's process so that it sees no other GPUs than its own.

Triton's python backend runs ``triton_python_backend_stub`` of the model's folder where there is one, in place
of its own (its README, "Building Custom Python Backend Stub"), with the backend's folder as the sixth of its
arguments; run without any it has to end with 1 (``src/stub_launcher.cc``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

NAME = "triton_python_backend_stub"
_HEAD = (
    "#!/bin/sh\n# Written by shardpack-agent: this model's processes see these GPUs of its server's alone.\n"
)
_BODY = """\
[ $# -ge 6 ] || exit 1
shown=
for ordinal in {ordinals}; do
  device=$ordinal
  [ -z "$CUDA_VISIBLE_DEVICES" ] || device=$(printf %s "$CUDA_VISIBLE_DEVICES" | cut -d, -f$((ordinal + 1)))
  shown=${{shown:+$shown,}}$device
done
export CUDA_VISIBLE_DEVICES="$shown"
exec "$6/{name}" "$@"
"""


def stub(ordinals: Sequence[int]) -> bytes:
    """Return the program that shows these of the devices that the server sees, as devices 0 and up."""
    return (_HEAD + _BODY.format(ordinals=" ".join(map(str, ordinals)), name=NAME)).encode()


def has_own(folder: Path) -> bool:
    """Return whether a model brought a stub of its own."""
    return (folder / NAME).exists() and not is_ours(folder)


def is_ours(folder: Path) -> bool:
    """Return whether the stub in a model's folder is one that the agent wrote."""
    try:
        with (folder / NAME).open("rb") as file:
            return file.read(len(_HEAD)) == _HEAD.encode()
    except (FileNotFoundError, IsADirectoryError):
        return False

"""Triton: a ``config.pbtxt`` that names the model and says where it runs."""

from __future__ import annotations

from pathlib import Path

from agent.errors import PinError
from agent.layouts.port import Arrangement, Asked
from agent.pbtxt import minimal_config, with_placement
from agent.storage.layout import CONFIG

_LARGEST = 1 << 20


def lay_out(asked: Asked) -> Arrangement:
    """Return the config that the model's own becomes with its pin.

    Raises
    ------
    PinError
        The model's own config cannot be read, or it has none and needs one.
    """
    original = asked.record / CONFIG
    text = _read(original) if original.is_file() else minimal_config(asked.framework)
    placed = with_placement(text, name=asked.name, instance_group=asked.pin.instance_group)
    return Arrangement(files={CONFIG: placed.encode()})


def _read(config: Path) -> str:
    # A token takes a hundred bytes while it is scanned, and some microseconds.
    if config.stat().st_size > _LARGEST:
        raise PinError("BadConfig", f"{CONFIG} is larger than {_LARGEST} bytes")
    return config.read_text(encoding="utf-8")

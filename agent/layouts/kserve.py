"""KServe's Python servers: the model's one file, without a version folder around it."""

from __future__ import annotations

from agent.layouts.port import Arrangement, Asked, only_version, refuse_devices


def lay_out(asked: Asked) -> Arrangement:
    """Return how the files of the only version come up into the model's folder.

    Raises
    ------
    PinError
        The model is pinned to a GPU.
    """
    refuse_devices(asked.pin, server="KServe's Python server")
    return Arrangement(raised=only_version(asked.folder))

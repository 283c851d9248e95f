"""Types of the flags of the commands."""

from __future__ import annotations

import math
import os
from typing import Any

import click


class Seconds(click.FloatRange):
    """A time, which has an end: neither nan, which is in every range, nor inf."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return found


def visible_devices() -> str | None:
    """Return the environment's ``CUDA_VISIBLE_DEVICES``: empty is none, as CUDA reads it; None is all."""
    return os.environ.get("SHARDPACK_AGENT_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES"))


def name_variables(command: click.Command, *, prefix: str) -> None:
    """Let every flag be set by the variable of its name, ``PREFIX_MODEL_DIR``, and its help say so."""
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in ("help", "version"):
            option.envvar = f"{prefix}_{option.opts[0].removeprefix('--').replace('-', '_').upper()}"
            option.show_envvar = True

"""A model's files, and what a server needs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import PinError
from agent.pins import CPU, UNPINNED, Pin


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A model that is to be laid out.

    Parameters
    ----------
    name, pin, framework
        What is desired of it.
    folder
        Its files as they lie.
    record
        The folder that keeps the ``config.pbtxt`` that it brought, if it brought one.
    """

    name: str
    pin: Pin
    framework: str
    folder: Path
    record: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """What a model's folder should be like.

    Parameters
    ----------
    files
        Contents of the files that the agent writes, by path in the folder.
    raised
        A folder in it whose entries go up into it; None where nothing moves.
    programs
        Those of the files that are run.
    absent
        Files that the agent wrote there before and that are not to be there.
    unenforced
        Why the model may run elsewhere than its pin says; None where it cannot.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    raised: str | None = None
    programs: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    unenforced: str | None = None


Layout = Callable[[Asked], Arrangement]
"""Raises PinError where the model cannot be laid out as it is desired."""


def refuse_devices(pin: Pin, *, server: str) -> None:
    """Refuse a GPU where the server cannot be told which one a model takes.

    Raises
    ------
    PinError
        The pin names one.
    """
    gpus = [device for device in pin.devices if device not in (CPU, UNPINNED)]
    if gpus:
        raise PinError(
            "PinNotSupported",
            f"{server} cannot be told where a model runs, and this one is planned on {', '.join(gpus)}",
        )


def only_version(folder: Path) -> str | None:
    """Return the numbered folder of a model that has just one, None otherwise."""
    numbered = [entry.name for entry in folder.iterdir() if entry.name.isdecimal() and entry.is_dir()]
    return numbered[0] if len(numbered) == 1 else None

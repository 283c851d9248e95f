"""What the agent remembers of a copy of a model, beside its files."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.observed import Copy

log = logging.getLogger(__name__)

RECORD = "record.json"
"""Where a copy came from and with which pin it is loaded."""

MODEL = "model"
"""The files, where they are not in the server's repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """What there is of a model: in the repository, staged, and put aside for the first."""

    installed: Copy | None = None
    staged: Copy | None = None
    former: Copy | None = None


def write_record(folder: Path, copy: Copy) -> None:
    """Write a copy's record into the folder that is kept of it."""
    temporary = folder / f".{RECORD}"
    temporary.write_text(json.dumps(asdict(copy)), encoding="utf-8")
    temporary.rename(folder / RECORD)


def read_record(folder: str | Path) -> Copy | None:
    """Return a record, or None where there is none that can be read."""
    try:
        with open(os.path.join(folder, RECORD), "rb", buffering=0) as file:  # noqa: PTH118, PTH123 - thousands at a start
            fields: dict[str, Any] = json.loads(file.read())
        return Copy(**{**fields, "loaded_devices": tuple(fields["loaded_devices"])})
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError, NotADirectoryError) as error:
        log.warning(
            "a record cannot be read; its model will be downloaded again",
            extra={"folder": str(folder), "error": str(error)},
        )
        return None


def is_complete(folder: Path) -> bool:
    """Return whether a folder holds a model's files and their record."""
    return (folder / MODEL).is_dir() and (folder / RECORD).is_file()

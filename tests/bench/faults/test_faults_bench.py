"""Our agent beside KServe's as it is mirrored here: faults on a real Triton, and who survives them.

An agent survives if the server holds exactly what is desired, each model in the edition that is, at latest
``LIMIT_S`` after the fault; where a new version cannot be had, in the one that served before. Both
get the same ``models.json`` and the same store; no placement document.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from planner.errors import ShardpackError
from planner.rehearsal.build import build_native
from planner.rehearsal.triton_files import TritonHome, prepare_triton
from tests.bench.faults.faults import CONTROL, FAULTS, Fault
from tests.bench.faults.stage import CONTENDERS, DISK_BYTES, LIMIT_S, Outcome, Stage
from tests.bench.records import commit, keep

pytestmark = [pytest.mark.bench, pytest.mark.triton, pytest.mark.timeout(3600)]

ORDER = [fault.name for fault in (CONTROL, *FAULTS)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> TritonHome:
    try:
        native = build_native(tmp_path_factory.mktemp("native"))
        return prepare_triton(tmp_path_factory.mktemp("triton"), native=native)
    except ShardpackError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def rows() -> Iterator[list[dict[str, Any]]]:
    """How every fault ended; kept as one record when all are over."""
    found: list[dict[str, Any]] = []
    yield found
    record = {"suite": "agent", "track": "faults", "limit_s": LIMIT_S, "commit": commit()}
    keep({**record, "faults": sorted(found, key=lambda row: ORDER.index(row["fault"]))}, "agent-faults")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_ours_survives(tmp_path: Path, home: TritonHome, rows: list[dict[str, Any]], fault: Fault) -> None:
    rows.append(row := trials(tmp_path, home, fault))
    assert row["ours"]["survived"], row["ours"]["wrong"]


def test_where_nothing_happens_nobody_fails(
    tmp_path: Path, home: TritonHome, rows: list[dict[str, Any]]
) -> None:
    rows.append(row := trials(tmp_path, home, CONTROL))
    assert [one for one in CONTENDERS if not row[one]["survived"]] == []


def trials(folder: Path, home: TritonHome, fault: Fault) -> dict[str, Any]:
    """Return how a fault ended for each contender."""
    ends = {one: asdict(trial(folder / one, home, fault, one)) for one in CONTENDERS}
    return {"fault": fault.name, **ends}


def trial(folder: Path, home: TritonHome, fault: Fault, contender: str) -> Outcome:
    """Return how a fault ended; skips where this machine has no way to bring it about."""
    disk = folder / "disk"
    disk.mkdir(parents=True)
    if fault.small_disk and not mount_small(disk):
        pytest.skip("a small disk needs the right to mount one")
    stage = Stage(folder, disk, home, contender)
    try:
        fault.happen(stage)
        return stage.outcome()
    finally:
        stage.stop()
        if fault.small_disk:
            subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)
        shutil.rmtree(disk, ignore_errors=True)


def mount_small(place: Path) -> bool:
    """Whether a small filesystem could be put there."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    return os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0

"""The demo, broken off: nothing that it started goes on, nothing that it made is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from planner.errors import ShardpackError
from planner.rehearsal.prerequisites import check_prerequisites
from tests.support.agent_process import eventually

_SCRIPT = """
import sys
from pathlib import Path
from planner.rehearsal.demo import DemoOptions, run_demo
run_demo(DemoOptions(zoo=("iris-linear",), tiny=4, say=lambda line: print(line, flush=True)))
"""


def processes_that_name(folder: Path) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if os.fsencode(folder) in command:
            found.append(int(path.parent.name))
    return found


@pytest.mark.triton
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_demo_that_is_broken_off_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    try:
        check_prerequisites(report=None, folder=None)
    except ShardpackError as error:
        pytest.skip(str(error))
    shared_memory = set(Path("/dev/shm").iterdir())
    story = tmp_path / "story"
    with story.open("wb") as output:
        demo = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT],
            stdout=output,
            stderr=output,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            cwd=Path(__file__).parents[3],
            start_new_session=True,
        )
    try:
        eventually(lambda: "shard vision started" in story.read_text() or demo.poll() is not None, "a shard")
        assert demo.poll() is None, story.read_text()
        assert len(processes_that_name(tmp_path)) > 1
        os.killpg(demo.pid, number)
        assert demo.wait(60) != 0
    finally:
        demo.kill()
        demo.wait()
    eventually(lambda: processes_that_name(tmp_path) == [], "everything has ended")
    assert [path.name for path in tmp_path.iterdir()] == ["story"]
    own = {
        path.name for path in set(Path("/dev/shm").iterdir()) - shared_memory if str(demo.pid) in path.name
    }
    assert own == set()

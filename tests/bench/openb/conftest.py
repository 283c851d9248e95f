"""Where the openb traces are."""

from __future__ import annotations

from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[4] / "shared" / "bench" / "openb"


@pytest.fixture
def openb(request: pytest.FixtureRequest) -> Path:
    """The folder of the traces; without one the test is skipped, with a wrong one it fails."""
    given = request.config.getoption("--openb")
    folder = Path(given) if given else _BESIDE
    if not (folder / "openb_node_list_gpu_node.csv").is_file():
        stop = pytest.fail if given else pytest.skip
        stop(f"no openb traces: {folder} has none; give their folder with --openb")
    return folder

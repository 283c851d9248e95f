"""Options and fixtures of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[2] / "shared" / "kserve-crds"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kserve-crds",
        metavar="FOLDER",
        default=os.environ.get("SHARDPACK_KSERVE_CRDS"),
        help="KServe's custom resource definitions (config/crd/full); default: $SHARDPACK_KSERVE_CRDS",
    )
    parser.addoption("--update-goldens", action="store_true", help="rewrite the golden files")


@pytest.fixture
def kserve_crds(request: pytest.FixtureRequest) -> Path:
    """The folder of KServe's definitions; the test is skipped without one."""
    given = request.config.getoption("--kserve-crds")
    folder = Path(given) if given else _BESIDE
    if not folder.is_dir():
        pytest.skip(f"no KServe definitions: {folder} is no folder; give one with --kserve-crds")
    return folder


@pytest.fixture
def update_goldens(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are rewritten instead of compared."""
    return bool(request.config.getoption("--update-goldens"))

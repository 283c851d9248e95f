"""Options and fixtures of all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.api_server.fixtures import (  # noqa: F401 - fixtures of all tests
    api_server,
    cluster,
    real_kubeconfig,
)

# A busy machine is not a fault: no test passes or fails by the time it took.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_BESIDE = Path(__file__).parents[2] / "shared" / "kserve-crds"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kserve-crds",
        metavar="FOLDER",
        default=os.environ.get("SHARDPACK_KSERVE_CRDS"),
        help="KServe's custom resource definitions (config/crd/full); default: $SHARDPACK_KSERVE_CRDS",
    )
    parser.addoption(
        "--kubeconfig",
        metavar="FILE",
        default=os.environ.get("SHARDPACK_TEST_KUBECONFIG"),
        help="a real cluster for tests that otherwise have a small API server of their own; they make and "
        "delete namespaces shardpack-test-*, and stand in for KServe and its pods; default: "
        "$SHARDPACK_TEST_KUBECONFIG",
    )
    parser.addoption(
        "--kube-programs",
        metavar="FOLDER",
        default=os.environ.get("KUBEBUILDER_ASSETS"),
        help="etcd and kube-apiserver (kube-controller-manager too, if it is there): a real API server is "
        "started of them in place of --kubeconfig's cluster; default: $KUBEBUILDER_ASSETS",
    )
    parser.addoption(
        "--openb",
        metavar="FOLDER",
        default=os.environ.get("SHARDPACK_OPENB"),
        help="the openb traces (node and pod lists) of the online benchmark; default: $SHARDPACK_OPENB",
    )
    parser.addoption(
        "--vbp",
        metavar="FOLDER",
        default=os.environ.get("SHARDPACK_VBP"),
        help="the vector bin packing instances (*.tar.gz) and their tables (*.csv); default: $SHARDPACK_VBP",
    )
    parser.addoption(
        "--vbp-all",
        action="store_true",
        help="solve every vector bin packing instance instead of the 96 of the regression",
    )
    parser.addoption(
        "--vbp-every",
        type=int,
        metavar="N",
        help="solve every Nth instance of at most 120 items, beside first fit, best fit and plain CP-SAT",
    )
    parser.addoption(
        "--refresh-best-known",
        action="store_true",
        help="let benchmarks write what is better than ever into tests/bench/best_known.json",
    )
    parser.addoption("--update-goldens", action="store_true", help="rewrite the golden files")


@pytest.fixture(autouse=True)
def own_log_levels() -> Iterator[None]:
    """Let what a command's ``-q`` or ``--debug`` sets end with its test: the process outlives it."""
    own = [logging.getLogger(name) for name in ("agent", "planner")]
    levels = [logger.level for logger in own]
    yield
    for logger, level in zip(own, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def kserve_crds(request: pytest.FixtureRequest) -> Path:
    """The folder of KServe's definitions; without one the test is skipped, with a wrong one it fails."""
    given = request.config.getoption("--kserve-crds")
    folder = Path(given) if given else _BESIDE
    if not folder.is_dir():
        stop = pytest.fail if given else pytest.skip
        stop(f"no KServe definitions: {folder} is no folder; give one with --kserve-crds")
    return folder


@pytest.fixture
def update_goldens(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are rewritten instead of compared."""
    return bool(request.config.getoption("--update-goldens"))

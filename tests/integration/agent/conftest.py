"""Real Triton servers and agents beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from planner.errors import ShardpackError
from planner.rehearsal.build import NativeParts, build_native
from planner.rehearsal.triton import TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome, prepare_triton
from tests.support.agent_process import AgentProcess


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> NativeParts:
    try:
        return build_native(tmp_path_factory.mktemp("native"))
    except ShardpackError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def triton_home(tmp_path_factory: pytest.TempPathFactory, native: NativeParts) -> TritonHome:
    try:
        return prepare_triton(tmp_path_factory.mktemp("triton"), native=native)
    except ShardpackError as error:
        pytest.skip(str(error))


@pytest.fixture
def server(tmp_path: Path, triton_home: TritonHome) -> Iterator[TritonProcess]:
    """A server on CPU with the repository ``models`` in ``tmp_path``."""
    (tmp_path / "models").mkdir()
    server = start_triton(tmp_path.name, tmp_path / "models", home=triton_home)
    yield server
    server.kill()


@pytest.fixture
def agent(tmp_path: Path, server: TritonProcess) -> Iterator[AgentProcess]:
    """An agent beside ``server``, not started."""
    agent = AgentProcess(folder=tmp_path, server_url=server.http_url)
    yield agent
    agent.kill()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where models come from."""
    return tmp_path / "store"

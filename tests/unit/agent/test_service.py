from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.service import fetch_only
from agent.settings import Settings


class _Stranger(BaseHTTPRequestHandler):
    """Something on the server's port that knows nothing of models."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""


@pytest.fixture
def stranger() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_nothing_is_fetched_where_anything_answers_on_the_servers_port(stranger: str, tmp_path: Path) -> None:
    settings = Settings(
        config_dir=tmp_path / "configs",
        model_dir=tmp_path / "models",
        state_dir=tmp_path / "state",
        server_url=stranger,
    )
    with pytest.raises(SettingsError, match="answers already, and not as a model server"):
        fetch_only(settings, most_s=1.0)
    assert not (tmp_path / "models").exists()

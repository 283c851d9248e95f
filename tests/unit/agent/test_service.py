from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.errors import SettingsError
from agent.servers.http import Timeouts
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


def settings_for(server_url: str, folder: Path, **more: Any) -> Settings:
    return Settings(
        config_dir=folder / "configs",
        model_dir=folder / "models",
        state_dir=folder / "state",
        server_url=server_url,
        **more,
    )


def test_nothing_is_fetched_where_anything_answers_on_the_servers_port(stranger: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="answers already, and not as a model server"):
        fetch_only(settings_for(stranger, tmp_path), most_s=1.0)
    assert not (tmp_path / "models").exists()


def test_nothing_is_fetched_beside_a_server_that_is_only_slow(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:  # it takes connections and answers none
        settings = settings_for(
            f"http://127.0.0.1:{busy.getsockname()[1]}", tmp_path, timeouts=Timeouts(control_s=0.2)
        )
        with pytest.raises(SettingsError, match="only slow"):
            fetch_only(settings, most_s=1.0)
    assert not (tmp_path / "models").exists()

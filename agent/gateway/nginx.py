"""One nginx process of a gateway: started, told, asked, ended.

https://nginx.org/en/docs/control.html
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from agent.errors import SettingsError
from agent.proxy import find_nginx

log = logging.getLogger(__name__)

_LOOK_S = 0.02
_ANSWER_S = 2.0
_DRAINING = b"is shutting down"


class Nginx:
    """An nginx that belongs to this process.

    Parameters
    ----------
    name
        Of its configuration, ``<name>.conf`` in ``folder``.
    folder
        Where it works; an absolute path.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self._folder = name, folder
        self._program = find_nginx()
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, text: str) -> None:
        """Put its configuration in place, whole."""
        path = self._folder / f"{self.name}.conf"
        temporary = path.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(path)

    def put(self, text: str) -> None:
        """Put its configuration in place if nginx takes it; the former one stays where it does not.

        Raises
        ------
        SettingsError
            As `check`.
        """
        path = self._folder / f"{self.name}.conf"
        former = path.read_text(encoding="utf-8") if path.exists() else None
        self.write(text)
        try:
            self.check()
        except SettingsError:
            if former is not None:
                self.write(former)
            raise

    def check(self) -> None:
        """Return if nginx takes the configuration.

        Raises
        ------
        SettingsError
            It does not, or cannot listen where that says.
        """
        done = subprocess.run(self._command("-t", "-q"), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SettingsError(f"the {self.name} cannot run: {done.stderr.strip()}")

    def start(self) -> None:
        """Start it."""
        self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, start_new_session=True)

    @property
    def pid(self) -> int:
        """Process id of the master."""
        assert self._process is not None, "it was started"
        return self._process.pid

    def runs(self) -> bool:
        """Whether its master is there."""
        return self._process is not None and self._process.poll() is None

    def reload(self) -> None:
        """Let it read its configuration again; requests under way end under the one that they began with."""
        self._signal(signal.SIGHUP)

    def stop(self, most_s: float) -> None:
        """Take no new connection, and return when the requests under way are answered or time is up."""
        self._signal(signal.SIGQUIT)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(most_s)
        self.kill()

    def kill(self) -> None:
        """End it with its workers, which go on without their master and keep the port."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def workers(self) -> tuple[int, int]:
        """Return how many workers take requests, and how many only end those that they have."""
        taking = draining = 0
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            for child in children:
                with contextlib.suppress(OSError):  # it has just ended
                    if _DRAINING in Path(f"/proc/{child}/cmdline").read_bytes():
                        draining += 1
                    else:
                        taking += 1
        return taking, draining

    def _signal(self, number: int) -> None:
        if self.runs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _command(self, *more: str) -> list[str]:
        return [self._program, "-p", f"{self._folder}/", "-c", f"{self.name}.conf", "-e", "stderr", *more]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_S)
        self.sock.connect(str(self._path))


def ask_socket(path: Path, target: str) -> bytes | None:
    """Return the body of an answer over a unix socket; None for none, and for one that is no 200."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", target)
        answer = connection.getresponse()
        return answer.read() if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def ask_port(address: str, port: int, target: str) -> int | None:
    """Return the status of an answer over TCP; None for none."""
    connection = http.client.HTTPConnection(address, port, timeout=_ANSWER_S)
    try:
        connection.request("GET", target, headers={"Connection": "close"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_for(nginx: Nginx, answers: Callable[[], bool], most_s: float) -> bool:
    """Return whether ``answers`` came true before the time was up or nginx ended."""
    deadline_s = time.monotonic() + most_s
    while nginx.runs() and time.monotonic() < deadline_s:
        if answers():
            return True
        time.sleep(_LOOK_S)
    return False

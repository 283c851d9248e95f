"""The server in a process of its own: for tests that measure, or that would share one interpreter with it.

It takes one command a line, as JSON, on stdin and answers each with one line on stdout; it ends with stdin.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Self

from tests.support.api_server.access import Deed, User
from tests.support.api_server.server import ApiServer, kubeconfig
from tests.support.api_server.troubles import Trouble

_ROOT = Path(__file__).parents[3]


class ApiServerProcess:
    """``ApiServer`` in another process, as far as commands reach; a context manager.

    Parameters are those of ``ApiServer``.
    """

    def __init__(self, *, definitions: Path | None = None, bookmark_s: float = 60.0) -> None:
        settings = {
            "definitions": str(definitions) if definitions else None,
            "bookmark_s": bookmark_s,
        }
        command = [sys.executable, "-m", "tests.support.api_server.process", json.dumps(settings)]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._lock = Lock()
        self.url = str(self._answer())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; raises what went wrong inside of it."""
        if self._process.poll() is None:
            mistakes = self._ask("mistakes")
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait(30)
            self._process.stdout.close()
            assert not mistakes, "\n".join(mistakes)

    def kubeconfig(self, folder: Path, *, user: User | None = None, namespace: str = "default") -> Path:
        """Write a kubeconfig; return its path."""
        token = None if user is None else self._ask("token", name=user.name, groups=user.groups)
        return kubeconfig(folder, url=self.url, user=user, token=token, namespace=namespace)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections while the body runs."""
        self._ask("stop")
        try:
            yield
        finally:
            self._ask("start")

    def end_watches(self) -> None:
        """Let every open watch end."""
        self._ask("end_watches")

    def compact(self) -> None:
        """Forget all that happened."""
        self._ask("compact")

    def add(self, trouble: Trouble) -> None:
        """Make trouble until ``clear``; its ``matches`` does not reach the process."""
        assert trouble.matches is None
        self._ask("add", **{item.name: getattr(trouble, item.name) for item in dataclasses.fields(trouble)})

    def clear(self) -> None:
        """Take all troubles away."""
        self._ask("clear")

    def reset_counts(self) -> None:
        """Count from here."""
        self._ask("reset_counts")

    def writes(self) -> Counter[Deed]:
        """What was written, and how often, since the counts were reset."""
        return Counter({Deed(**deed): count for deed, count in self._ask("writes")})

    def requests(self) -> Counter[Deed]:
        """What was asked, and how often, since the counts were reset."""
        return Counter({Deed(**deed): count for deed, count in self._ask("requests")})

    def _ask(self, command: str, **arguments: Any) -> Any:
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps([command, arguments]) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the API server ended with {self._process.wait()}")
        return json.loads(line)


def _carry_out(server: ApiServer, command: str, arguments: dict[str, Any]) -> Any:
    match command:
        case "token":
            return server.token(User(name=arguments["name"], groups=tuple(arguments["groups"])))
        case "stop" | "start" | "end_watches":
            getattr(server, command)()
        case "compact":
            server.storage.compact()
        case "add":
            server.troubles.add(Trouble(**arguments))
        case "clear" | "reset_counts":
            getattr(server.troubles, command)()
        case "writes" | "requests":
            counts: Counter[Deed] = getattr(server.troubles, command)
            return [(dataclasses.asdict(deed), count) for deed, count in counts.copy().items()]
        case "mistakes":
            return server.mistakes
        case _:
            raise ValueError(command)
    return None


def main() -> None:
    settings = json.loads(sys.argv[1])
    definitions = Path(settings["definitions"]) if settings["definitions"] else None
    with ApiServer(definitions=definitions, bookmark_s=settings["bookmark_s"]) as server:
        print(json.dumps(server.url), flush=True)  # noqa: T201 - the protocol
        for line in sys.stdin:
            print(json.dumps(_carry_out(server, *json.loads(line))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

"""Two thousand models through kills, cut storage, full disks, broken documents: none is lost or loaded twice.

Most of the models are wanted all the time and unchanged; the others come, go, change and wait, and one of
their versions does not load. The first are the witnesses: whatever happens beside them, none of their files
is touched and no server loads them twice.
"""

from __future__ import annotations

import functools
import io
import os
import re
import subprocess
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from agent.desired import DesiredModel
from planner.rehearsal.mount import mount_files
from planner.rehearsal.triton import Ports, TritonOptions, TritonProcess, start_triton
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import documents, model_folder, wanted
from tests.support.agent_process import AgentProcess, eventually
from tests.support.triton_server import ready

pytestmark = [pytest.mark.triton, pytest.mark.soak, pytest.mark.timeout(3600)]

WITNESSES, OTHERS = 1_800, 200
AGENT_KILLS, SERVER_KILLS, SWAPS, STORAGE_CUTS, BROKEN_DOCUMENTS = 50, 20, 1_000, 10, 20
DISK_BYTES = 64 << 20


class Store(ThreadingHTTPServer):
    """Models as archives over HTTP; ``mood`` says how it answers."""

    daemon_threads = True
    mood = "well"

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(_Archives, directory=str(folder)))
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def uri(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}.tar"


class _Archives(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        mood = self.server.mood  # type: ignore[attr-defined]
        if mood == "cut":
            self.connection.close()
        elif mood == "errors":
            self.send_error(500)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


def add_archive(folder: Path, name: str, **parameters: str) -> None:
    model_folder(folder / "unpacked" / name, parameters=parameters)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder / "unpacked" / name, arcname=".")
    (folder / f"{name}.tar").write_bytes(content.getvalue())


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Store]:
    folder = tmp_path / "web"
    (folder / "unpacked").mkdir(parents=True)
    for number in range(WITNESSES):
        add_archive(folder, f"w{number:04}")
    for number in range(OTHERS):
        for version in "ab":
            add_archive(folder, f"o{number:04}-{version}")
        add_archive(folder, f"o{number:04}-c", fail="out of tape")
    made = Store(folder)
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own where that can be had, to be filled."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},nr_inodes=200k", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    yield place
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


class Storm:
    """One shard, and everything that befalls it."""

    def __init__(self, disk: Path, home: TritonHome, web: Store, random: Random) -> None:
        self.disk, self.web, self.random = disk, web, random
        (disk / "models").mkdir()
        folder = disk.parent / "shard"  # its documents and its log are not on the disk that fills up
        folder.mkdir()
        (folder / "models").symlink_to(disk / "models")
        ports = Ports.free()
        self.agent = AgentProcess(folder=folder, server_url=f"http://127.0.0.1:{ports.http}")
        self.agent.arguments = ("--disk-reserve", "0")
        self.witnesses = [wanted(f"w{n:04}", storage_uri=web.uri(f"w{n:04}")) for n in range(WITNESSES)]
        self.others: list[DesiredModel] = []
        self.mount()
        assert self.agent.fetch(most_s=600) == 0
        options = TritonOptions(load_at_start=("*",), ports=ports, live_timeout_s=300)
        self.server: TritonProcess = start_triton(
            disk.parent.name, disk / "models", home=home, options=options
        )
        self.log_ends: list[int] = []
        self.agent.start()
        self.agent.wait_ready()

    def stop(self) -> None:
        self.agent.kill()
        self.server.kill()

    def mount(self) -> None:
        mount_files(self.agent.configs, documents(*self.witnesses, *self.others))

    def swap(self, versions: str = "abababc") -> None:
        """Ask for some of the others; their version c does not load."""
        chosen = self.random.sample(range(OTHERS), self.random.randrange(OTHERS))
        self.others = [
            wanted(
                f"o{number:04}",
                storage_uri=self.web.uri(f"o{number:04}-{self.random.choice(versions)}"),
                instances=self.random.choice([1, 1, 2]),
                state=self.random.choice(["resident", "resident", "standby"]),
            )
            for number in chosen
        ]
        self.mount()

    def kill_agent(self) -> None:
        self.agent.kill()
        self.agent.start()

    def kill_server(self) -> None:
        self.server.kill()
        self.log_ends.append(self.server.log.stat().st_size)
        self.server.start()

    def cut_storage(self) -> None:
        self.web.mood = self.random.choice(["cut", "errors", "well"])

    def break_documents(self) -> None:
        mount_files(self.agent.configs, {"placement-0.json": '{"version": 1, "models": '})

    def fill_disk(self) -> None:
        full = self.disk / "full"
        with full.open("wb") as stream:
            try:
                while stream.tell() < DISK_BYTES:
                    stream.write(bytes(1 << 20))
            except OSError:
                pass
        self.swap()
        time.sleep(1.0)
        full.unlink()

    def witness_files(self) -> dict[str, tuple[int, int]]:
        """Inode and time of every file of the witnesses in the repository."""
        folders = [self.agent.models / model.name for model in self.witnesses]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}

    def loads_by_process(self) -> list[Counter[str]]:
        """How often each server process has loaded each model."""
        log = self.server.log.read_bytes()
        parts = [log[begin:end] for begin, end in pairwise([0, *self.log_ends, len(log)])]
        return [Counter(re.findall(r"successfully loaded '([^']+)'", part.decode())) for part in parts]


@pytest.mark.parametrize("seed", range(2))
def test_after_the_storm_all_is_as_desired_and_nothing_was_touched_without_need(
    disk: Path, triton_home: TritonHome, web: Store, seed: int
) -> None:
    storm = Storm(disk, triton_home, web, Random(seed))
    try:
        weather(storm)
    finally:
        storm.stop()


def weather(storm: Storm) -> None:
    before = storm.witness_files()
    assert len(before) == 2 * WITNESSES
    events = [
        *[storm.kill_agent] * AGENT_KILLS,
        *[storm.kill_server] * SERVER_KILLS,
        *[storm.swap] * SWAPS,
        *[storm.cut_storage] * STORAGE_CUTS,
        *[storm.break_documents] * BROKEN_DOCUMENTS,
        *[storm.fill_disk] * 3,
    ]
    storm.random.shuffle(events)
    for event in events:
        event()
        time.sleep(storm.random.random() / 10)
    storm.web.mood = "well"
    storm.swap("ab")
    states = {
        model.name: "Standby" if model.state == "standby" else "Loaded"
        for model in (*storm.witnesses, *storm.others)
    }
    eventually(storm.server.is_live, "the server", patience_s=300)
    eventually(lambda: storm.agent.states() == states, "the states as desired", patience_s=600)
    residents = {name for name, state in states.items() if state == "Loaded"}
    assert ready(storm.server) == residents
    assert {path.name for path in storm.agent.models.iterdir()} == residents
    for model in storm.others:
        if model.state == "resident":
            weights = (storm.agent.models / model.name / "1" / "weights").read_text()
            assert model.storage_uri.endswith(f"/{weights}.tar")
    assert storm.witness_files() == before
    for loads in storm.loads_by_process():
        assert {name for name, count in loads.items() if count > 1 and name.startswith("w")} == set()
    storm.kill_agent()
    storm.agent.wait_ready()
    assert storm.agent.done("load") == storm.agent.done("unload") == storm.agent.done("download") == 0

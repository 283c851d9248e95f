from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agent.server_metrics import ServerMetrics, read_devices

PAGE = """\
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="nv_gpu_memory_used_bytes",version="1"} 3
# HELP nv_gpu_memory_total_bytes GPU total memory, in bytes
# TYPE nv_gpu_memory_total_bytes gauge
nv_gpu_memory_total_bytes{gpu_uuid="GPU-b"} 16945512448.000000
nv_gpu_memory_total_bytes{gpu_uuid="GPU-a"} 1000.000000
nv_gpu_memory_total_bytes{gpu_uuid="GPU-lost"} 0.000000
# HELP nv_gpu_memory_used_bytes GPU used memory, in bytes
# TYPE nv_gpu_memory_used_bytes gauge
nv_gpu_memory_used_bytes{gpu_uuid="GPU-b"} 974913536.000000
nv_gpu_memory_used_bytes{gpu_uuid="GPU-a"} 400.000000
nv_gpu_memory_used_bytes{gpu_uuid="GPU-lost"} 0.000000
"""
ONE = "\n".join(line for line in PAGE.splitlines() if "GPU-b" not in line and "GPU-lost" not in line) + "\n"


class Told:
    """A server's metrics port that says what it is told to say, and counts."""

    def __init__(self) -> None:
        self.page, self.status, self.asked = PAGE, 200, 0
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told.asked += 1
                body = told.page.encode()
                self.send_response(told.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/metrics"


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    yield told
    told.server.shutdown()
    told.server.server_close()


def test_only_gpus_that_answer_are_read() -> None:
    found = read_devices(PAGE.splitlines(keepends=True))
    assert found == {"GPU-b": (16_945_512_448, 974_913_536), "GPU-a": (1000, 400)}


def test_the_only_device_is_number_0(told: Told) -> None:
    told.page = ONE
    (device,) = ServerMetrics(told.url, dict).memory()
    assert (device.uuid, device.index, device.total_bytes, device.used_bytes) == ("GPU-a", 0, 1000, 400)
    assert (device.reserved_bytes, device.server_bytes, device.foreign_bytes) == (None, None, None)


def test_of_several_those_are_told_whose_ordinal_is_known(told: Told) -> None:
    ordinals: dict[str, int] = {}
    metrics = ServerMetrics(told.url, lambda: ordinals)
    assert metrics.memory() == ()
    ordinals |= {"GPU-a": 1, "GPU-b": 0}
    assert [(device.uuid, device.index) for device in metrics.memory()] == [("GPU-b", 0), ("GPU-a", 1)]


def test_it_asks_once_in_ten_seconds(told: Told) -> None:
    now_s = 0.0
    metrics = ServerMetrics(told.url, dict, seconds=lambda: now_s)
    for now_s in (0.0, 5.0, 9.9, 10.0, 11.0):  # noqa: B007  # the clock
        metrics.memory()
    assert told.asked == 2


@pytest.mark.parametrize(
    ("status", "page", "words"),
    [
        (503, PAGE, "status 503"),
        (200, "nothing_here 1\n", "speak of no GPU"),
        (200, 'nv_gpu_memory_used_bytes{gpu_uuid="x"} many\n', "many"),
    ],
)
def test_what_cannot_be_read_is_said_once(
    told: Told, caplog: pytest.LogCaptureFixture, status: int, page: str, words: str
) -> None:
    told.status, told.page = status, page
    now_s = iter(range(0, 1000, 20))
    metrics = ServerMetrics(told.url, dict, seconds=lambda: next(now_s))
    assert [metrics.memory(), metrics.memory()] == [(), ()]
    (record,) = caplog.records
    assert words in record.__dict__["error"]


def test_a_server_that_is_not_there_yet_has_no_devices() -> None:
    assert ServerMetrics("http://127.0.0.1:1/metrics", dict).memory() == ()

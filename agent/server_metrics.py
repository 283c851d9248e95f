"""The devices' memory as Triton itself tells it, for an agent that has no GPU and so no NVML."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import urllib3
from prometheus_client.parser import text_string_to_metric_families

from agent.memory import DeviceMemory

log = logging.getLogger(__name__)

_TOTAL, _USED = "nv_gpu_memory_total_bytes", "nv_gpu_memory_used_bytes"
_FRESH_S = 10.0
_CALL_S = 5.0
_PIECE = _LONGEST_LINE = 1 << 16


class ServerMetrics:
    """The GPUs of a Triton, by the port of its metrics.

    Triton asks NVIDIA's DCGM every two seconds and says nothing of single processes, so these figures tell
    what is used, and not what one load has taken or whose it is. Ten thousand models make some 15 MB of
    metrics, of which the lines about GPUs are read, at most once in ten seconds.

    Parameters
    ----------
    url
        As ``http://127.0.0.1:8002/metrics``.
    ordinals
        The ordinal of each device whose UUID the documents say. The metrics name UUIDs alone: a server's only
        device is number 0, and of several those are told whose ordinal is known.
    seconds
        A clock that only runs forward.
    """

    def __init__(
        self,
        url: str,
        ordinals: Callable[[], Mapping[str, int]],
        *,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._ordinals = ordinals
        self._seconds = seconds
        self._pool = urllib3.PoolManager(maxsize=1, retries=False, timeout=_CALL_S)
        self._known: tuple[float, dict[str, tuple[int, int]]] = (float("-inf"), {})
        self._said: str | None = None

    def memory(self, server: Collection[int] = ()) -> tuple[DeviceMemory, ...]:  # noqa: ARG002  # as NVML's
        """Return the memory of the devices whose ordinal is known; none where Triton does not say."""
        asked_at_s, found = self._known
        now_s = self._seconds()
        if now_s - asked_at_s >= _FRESH_S:
            found = self._ask()
            self._known = (now_s, found)
        ordinals = dict.fromkeys(found, 0) if len(found) == 1 else self._ordinals()
        # The driver's reservation is not told: DCGM counts it neither as used nor as free.
        devices = (
            DeviceMemory(
                uuid=uuid, index=ordinals[uuid], total_bytes=total, reserved_bytes=None, used_bytes=used
            )
            for uuid, (total, used) in found.items()
            if uuid in ordinals
        )
        return tuple(sorted(devices, key=lambda device: device.index))

    def _ask(self) -> dict[str, tuple[int, int]]:
        try:
            with self._pool.request("GET", self._url, preload_content=False) as response:
                found = read_devices(_lines(response))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self._say(str(error))
            return {}
        self._say(None if found else "they speak of no GPU")
        return found

    def _say(self, fault: str | None) -> None:
        if fault is not None and fault != self._said:
            extra = {"url": self._url, "error": fault}
            log.warning("the server's metrics do not tell the devices' memory", extra=extra)
        self._said = fault


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[str]:
    """Return the lines of a good answer that ends in time."""
    if response.status != 200:
        raise urllib3.exceptions.HTTPError(f"status {response.status}")
    until_s = time.monotonic() + _CALL_S
    rest = b""
    for piece in response.stream(_PIECE):
        *lines, rest = (rest + piece).split(b"\n")
        if time.monotonic() > until_s or len(rest) > _LONGEST_LINE:
            raise urllib3.exceptions.HTTPError("the answer, or a line of it, does not end")
        yield from (f"{line.decode(errors='replace')}\n" for line in lines)


def read_devices(lines: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return total and used bytes by UUID; Triton says a total of 0 for a device that does not answer.

    Parameters
    ----------
    lines
        Prometheus' text format, each with its end.

    Raises
    ------
    ValueError
        A line about a GPU's memory is not in the format.
    """
    said: dict[str, dict[str, int]] = {_TOTAL: {}, _USED: {}}
    about = (line for line in lines if line.startswith((_TOTAL, _USED)))
    for family in text_string_to_metric_families("".join(about)):
        for sample in family.samples:
            uuid = sample.labels.get("gpu_uuid")
            if uuid is not None and sample.name in said:
                said[sample.name][uuid] = int(sample.value)
    used = said[_USED]
    return {uuid: (total, used[uuid]) for uuid, total in said[_TOTAL].items() if total > 0 and uuid in used}

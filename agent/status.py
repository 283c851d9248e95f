"""What the agent tells of itself: the state of every model, readiness, the status document. PURE.

The document's JSON Schema is shipped beside this module as ``status.schema.json``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from agent.accounts import DeviceAccount, account
from agent.actions import Action, Download, Install, Load, Unload, gpus, is_apart
from agent.desired import Desired
from agent.memory import DeviceMemory, Memory
from agent.observed import NOTHING, PROBE_FAILED, Failure, Seen
from agent.outcomes import SERVER_UNREACHABLE
from agent.pins import Target
from agent.servers.port import HTTP, Control, ServerInfo
from agent.storage.uri import public

VERSION = 1
ModelState = Literal[
    "Pending", "Downloading", "DownloadFailed", "Loading", "Loaded", "FailedToLoad", "Unloading", "Standby"
]
STATES: tuple[ModelState, ...] = (
    "Pending",
    "Downloading",
    "DownloadFailed",
    "Loading",
    "Loaded",
    "FailedToLoad",
    "Unloading",
    "Standby",
)

_dumps: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode

UPDATE_FAILED = "UpdateFailed"
"""The reason of a model that serves as it was asked for before, since what is asked for now has failed."""

_TRIES_WITHOUT_SERVER = 3
"""A load that met no server counts as attempted only after so many tries: the server may just be starting."""

_TRIES_TO_FETCH = 3
"""So many stumbles in a row, and neither a starting server nor readiness is held up any longer by one model's
files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One look at the agent.

    Parameters
    ----------
    desired, document_fault
        What is obeyed (None before the first document), and why the documents that are there now are not.
    targets, models, running
        Per model: what is desired, what is seen, what is being done.
    since
        Per model: its state and since when, seconds since the epoch.
    observed_generation
        The last generation of which every model was attempted.
    ready, live
        Whether traffic may come; whether the server answers.
    server, server_since, server_fault
        Kind and version; since when this server process has been seen, seconds since the epoch; what the last
        look at it met in place of an answer.
    control
        How loads and unloads are sent.
    visible
        UUIDs of the GPUs that the server sees; None where NVML cannot say.
    gone
        Whether the server has not answered for so long that it is taken to be gone.
    freeing
        The devices on which loads wait for an unload, and of which model.
    """

    desired: Desired | None
    document_fault: str | None
    targets: Mapping[str, Target]
    models: Mapping[str, Seen]
    running: Mapping[str, Action]
    since: Mapping[str, tuple[ModelState, float]]
    observed_generation: str | None
    ready: bool
    live: bool
    server: ServerInfo | None
    server_since: float | None
    server_fault: str | None = None
    control: Control = HTTP
    visible: tuple[str, ...] | None = None
    gone: bool = False
    freeing: Mapping[str, str] = field(default_factory=dict)

    @property
    def visible_count(self) -> int | None:
        """How many GPUs the server sees: by NVML, else by the documents, which tell each one's fixed cost."""
        fixed = self.desired.fixed if self.desired else ()
        return (len(fixed) or None) if self.visible is None else len(self.visible)


# ------------------------------------------------------------------------------------------------ one model


def state_of(target: Target | None, seen: Seen, action: Action | None) -> ModelState:
    """Return a model's state.

    Parameters
    ----------
    target
        What is desired; None when it is not desired and on its way out.
    seen
        What is known of it.
    action
        What is being done to it.
    """
    sick = seen.failure is not None and seen.failure.reason == PROBE_FAILED
    moving = _moving_state(seen, action)
    # The unload of a model that does not answer may never end; its failure is what there is to know.
    if moving is not None and not (sick and target is not None and action is None):
        return moving
    if target is None:
        return "Unloading"
    if target.fault is not None:
        return "FailedToLoad"
    if seen.failure is not None and not _stays(seen):
        return seen.failure.state
    return _settled_state(target, seen)


def _stays(seen: Seen) -> bool:
    """Return whether a model serves on though a load of it has failed: one that should have moved it."""
    failure = seen.failure
    return (
        failure is not None
        and failure.state == "FailedToLoad"
        and failure.reason != PROBE_FAILED
        and seen.ready
    )


def update_fault(target: Target | None, seen: Seen) -> Failure | None:
    """Return why a model is not as its target asks while it serves as it was asked for before.

    None where nothing has failed, or where nothing serves.
    """
    if target is None or not seen.ready:
        return None
    if seen.setback is not None and not _has_files(target, seen):
        return seen.setback
    return seen.failure if _stays(seen) else None


def served_uri(seen: Seen) -> str | None:
    """Return where the copy comes from that serves; None where none does, or it is not known which."""
    return seen.installed.storage_uri if seen.ready and seen.installed and seen.former is None else None


def _moving_state(seen: Seen, action: Action | None) -> ModelState | None:
    """Return the state of a model to which something is being done, by the agent or by the server."""
    on_server = None if seen.row is None else seen.row.state
    if isinstance(action, Download | Install):
        return "Downloading"
    if isinstance(action, Load) or on_server == "LOADING":
        return "Loading"
    if isinstance(action, Unload) or on_server == "UNLOADING":
        return "Unloading"
    return None


def _settled_state(target: Target, seen: Seen) -> ModelState:
    if update_fault(target, seen) is not None:
        return "Loaded"
    if not _has_files(target, seen):
        return "Pending"
    if target.model.state == "standby":
        return "Pending" if seen.held else "Standby"
    return "Loaded" if _serves(target, seen) else "Pending"


def attempted(target: Target, seen: Seen) -> bool:
    """Return whether everything was tried to serve a model, whatever came of it."""
    if target.fault is not None:
        return True
    if seen.failure is not None:
        return seen.failure.attempts >= _fewest_tries(seen.failure)
    if seen.setback is not None and not _has_files(target, seen):
        return seen.ready  # else the older copy is loaded first
    if not _has_files(target, seen):
        return False
    return target.model.state == "standby" or seen.ready


def _fewest_tries(failure: Failure) -> int:
    """Return how many failures in a row it takes until a model counts as attempted."""
    if failure.state == "DownloadFailed":
        return _TRIES_TO_FETCH if failure.retry == "soon" else 1
    met_nobody = failure.reason == SERVER_UNREACHABLE and not failure.hung
    return _TRIES_WITHOUT_SERVER if met_nobody else 1


def fetched(target: Target, seen: Seen) -> bool:
    """Return whether a model's files are where a starting server needs them, or cannot be had soon."""
    failure = seen.failure or seen.setback
    if failure is not None:
        return failure.retry != "soon" or failure.attempts >= _TRIES_TO_FETCH
    outside = target.model.state == "standby" or target.pin is None
    copy = seen.staged if outside and seen.installed is None else seen.installed
    return copy is not None and copy.storage_uri == target.model.storage_uri


def _has_files(target: Target, seen: Seen) -> bool:
    copies = (seen.installed, seen.staged if target.model.state == "standby" else None)
    return any(copy is not None and copy.storage_uri == target.model.storage_uri for copy in copies)


def _serves(target: Target, seen: Seen) -> bool:
    wanted = None if target.pin is None else target.pin.instance_group or ""
    return seen.ready and seen.installed is not None and seen.installed.loaded_pin == wanted


# --------------------------------------------------------------------------------------------- the document


def status_text(snapshot: Snapshot, memory: Memory, *, limit: int | None, after: str | None) -> bytes:
    """Return the status as JSON, or one page of it.

    Its models are written one after the other: thousands of entries at once would be the most that the agent
    ever holds.

    Parameters
    ----------
    snapshot
        The agent.
    memory
        The devices' memory and the server's.
    limit
        At most so many models; None is all.
    after
        The ``continue`` of the page before; None begins.
    """
    names = sorted(name for name in {*snapshot.targets, *snapshot.since} if after is None or name > after)
    page = names if limit is None else names[:limit]
    rest = {
        **_head(snapshot, memory),
        "devices": [_device_entry(device_account(snapshot, device)) for device in memory.devices],
        "continue": page[-1] if len(page) < len(names) else None,
    }
    text = io.BytesIO()
    text.write(_dumps(rest)[:-1].encode() + b',"models":{')
    for number, name in enumerate(page):
        entry = f"{',' if number else ''}{_dumps(name)}:{_dumps(_model_entry(snapshot, name))}"
        text.write(entry.encode())
    text.write(b"}}")
    return text.getvalue()


def _head(snapshot: Snapshot, memory: Memory) -> dict[str, Any]:
    desired = snapshot.desired
    return {
        "version": VERSION,
        "shard": desired.shard if desired else None,
        "generation": desired.generation if desired else None,
        "observedGeneration": snapshot.observed_generation,
        "documentFault": snapshot.document_fault,
        "ready": snapshot.ready,
        "server": {
            "kind": snapshot.server.kind if snapshot.server else None,
            "version": snapshot.server.version if snapshot.server else None,
            "live": snapshot.live,
            "fault": snapshot.server_fault,
            "startedAt": _time(snapshot.server_since),
            "control": snapshot.control.transport,
            "controlFault": snapshot.control.fault,
            "residentBytes": memory.server_resident_bytes,
        },
    }


def _model_entry(snapshot: Snapshot, name: str) -> dict[str, Any]:
    target = snapshot.targets.get(name)
    seen = snapshot.models.get(name, NOTHING)
    state, since = snapshot.since.get(name, ("Pending", None))
    reason, message = _explanation(target, seen)
    if reason is None and state == "Loaded" and target is not None:
        reason, message = _unenforced(target, seen, visible=snapshot.visible_count)
    if reason is None and state == "Pending" and target is not None and _has_files(target, seen):
        reason, message = _what_comes_first(target, snapshot)
    copy, served = seen.installed or seen.staged, served_uri(seen)
    return {
        "state": state,
        "reason": reason,
        "message": message,
        "since": _time(since),
        "attempts": _attempts(target, seen),
        "bytes": copy.total_bytes if copy else None,
        "downloadSeconds": _rounded(copy.download_seconds if copy else None),
        "loadSeconds": _rounded(seen.load_seconds),
        "device": ",".join(target.pin.devices) if target and target.pin else None,
        "plannedBytes": target.model.steady_bytes if target else None,
        "measuredBytes": copy.measured_bytes if copy else None,
        "storageUri": public(copy.storage_uri) if copy and copy.storage_uri else None,
        "servedUri": public(served) if served else None,
        "digest": copy.digest if copy else None,
    }


def _explanation(target: Target | None, seen: Seen) -> tuple[str | None, str | None]:
    if target is not None and target.fault is not None:
        return target.fault.reason, str(target.fault)
    fault = update_fault(target, seen)
    if fault is not None:
        return UPDATE_FAILED, f"{fault.reason}: {fault.message}; what was there before serves on"
    if seen.failure is not None:
        return seen.failure.reason, seen.failure.message
    if target is not None and seen.setback is not None and _makes_room(target, seen):
        short = seen.setback
        return (
            "UnloadedFirst",
            f"the old and the new copy have no room together ({short.reason}: {short.message})",
        )
    if target is not None and seen.held and not _has_files(target, seen):
        return _what_the_older_copy_does(seen)
    return None, None


def _what_the_older_copy_does(seen: Seen) -> tuple[str, str]:
    if seen.row is not None and seen.row.state == "UNLOADING":
        return "OldCopyLeaves", "the copy that is being unloaded comes from another storageUri"
    return "OldCopyServes", "the copy that serves comes from another storageUri; the new one is being fetched"


def _what_comes_first(target: Target, snapshot: Snapshot) -> tuple[str | None, str | None]:
    """Return what a model waits for whose files are there; None where it is only its turn."""
    if not snapshot.live:
        return "NoServer", snapshot.server_fault or "the server was not asked yet"
    pin = target.pin if target.model.state == "resident" else None
    devices = () if pin is None else gpus(pin.devices)
    device = next((device for device in devices if device in snapshot.freeing), None)
    if device is None:
        return None, None
    return "WaitsForUnload", f"{snapshot.freeing[device]} is being unloaded on {device}"


def _makes_room(target: Target, seen: Seen) -> bool:
    """Return whether an older copy was unloaded so that the newer one can be loaded."""
    leaves = seen.unload_asked_at_s is not None or seen.former is not None
    return is_apart(target, seen) and leaves and not seen.ready


def _unenforced(target: Target, seen: Seen, *, visible: int | None) -> tuple[str | None, str | None]:
    """Return why a loaded model may run elsewhere than planned; where there is nothing else, it cannot."""
    fault = None if seen.installed is None else seen.installed.unenforced
    if fault is None or target.pin is None or len(target.pin.ordinals) == visible:
        return None, None
    return "PinNotEnforced", fault


def _attempts(target: Target | None, seen: Seen) -> int:
    failure = seen.failure or (seen.setback if update_fault(target, seen) is not None else None)
    return failure.attempts if failure is not None else 0


def _device_entry(account: DeviceAccount) -> dict[str, Any]:
    memory = account.memory
    return {
        "uuid": memory.uuid,
        "index": memory.index,
        "totalBytes": memory.total_bytes,
        "reservedBytes": memory.reserved_bytes,
        "usedBytes": memory.used_bytes,
        "fixedBytes": account.fixed_bytes,
        "plannedBytes": account.planned_bytes,
        "foreignBytes": memory.foreign_bytes,
        "residualBytes": account.residual_bytes,
    }


def device_account(snapshot: Snapshot, device: DeviceMemory) -> DeviceAccount:
    """Return whose a device's memory is."""
    fixed = snapshot.desired.fixed if snapshot.desired else ()
    return account(device, targets=snapshot.targets, models=snapshot.models, fixed=fixed)


def _time(seconds: float | None) -> str | None:
    """Return a time as Kubernetes writes it: UTC, whole seconds."""
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)

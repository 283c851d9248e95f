"""What the agent sees of each model: on the server, on disk, and in its own memory. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Literal

from agent.errors import Retry
from agent.servers.port import IndexRow

UNLOAD_GRACE_S = 2.0
"""For so long after an unload was asked, READY in the index means that the index lags behind; later, that the
unload did not happen. Triton's index turns at once, but an answer may have been under way before."""

PROBATION_S = 60.0
"""For so long the server has to hold a model before its load counts as a success for good: as long as the
longest period between two looks."""

NO_ROOM = "NoRoom"
"""The reason of a load that was not asked for: a device has less free than it may take."""

OUT_OF_MEMORY = "OutOfMemory"
"""The reason of a load that the server has refused and said that there was too little memory."""

PROBE_FAILED = "ProbeFailed"
"""The reason of a model that is loaded and does not answer: only an unload and a load help."""

CRASHES_SERVER = "CrashesServer"
"""The reason of a model during whose loads server processes have died, the last time with no other load."""

MOST_CRASHES = 2
"""So many of them. The first may be due to any load that was under way, so what was is then loaded alone."""

UNLOAD_PATIENCE_S = 5.0
"""For so long the unload of a model that does not answer is waited for. Triton never ends that of a python
model whose process died with a request, and takes a load meanwhile as well as afterwards."""

STUCK_UNLOAD_S = 30.0
"""An unload that has lasted for so long may be one that never ends, as of a python model whose process has
died: other models do not wait for it any more. Other unloads take about a second; a load of the same model
meanwhile makes two copies."""


class Absence(IntEnum):
    """What is known of the absence of any server: only that nobody listens on its port says so.

    A server that is busy or hangs listens on. One that is starting may not yet: so what it may be reading is
    renamed at the most, what it holds in the end is looked at, and what is wanted of it stays for as long as
    a start may take.
    """

    UNKNOWN = 0
    """Somebody listens, or it is not known."""
    SEEN = 1
    """The last look found nobody."""
    LASTING = 2
    """The last looks found nobody."""
    ENDLESS = 3
    """Nobody has been there for longer than a server may take to start."""


FailedState = Literal["DownloadFailed", "FailedToLoad", "Unloading"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A model's files on disk.

    Parameters
    ----------
    storage_uri
        Where they came from; None for a folder that the agent did not put there.
    total_bytes, download_seconds
        What the download measured; None where it is not known.
    fetched_bytes
        How many of them were read from their source: none where the same files were kept from before.
    digest
        ``sha256:`` and a hash of the files' paths and contents as they were fetched.
    loaded_pin
        The ``instance_group`` text with which the copy is loaded if it is: that of its config, empty for the
        author's own. None when the config was written, or about to be, since it may have been loaded.
    loaded_devices
        The devices of that pin; where it is None, all on which the model may be if it is loaded.
    measured_bytes
        What the use of one of them grew by while the copy was loaded, the last time that this could be told.
    unenforced
        Why the model may run elsewhere than its config says; None where it cannot, or nothing is known.
    """

    storage_uri: str | None = None
    total_bytes: int | None = None
    download_seconds: float | None = None
    fetched_bytes: int | None = None
    digest: str | None = None
    loaded_pin: str | None = None
    loaded_devices: tuple[str, ...] = ()
    measured_bytes: int | None = None
    unenforced: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The last thing that went wrong with a model.

    Parameters
    ----------
    state
        What the status calls it.
    reason, message
        One word for programs, a sentence for people.
    attempts
        Failed tries in a row, at least one.
    retry_at_s
        When to try again, on the clock of `Observed.now_s`.
    retry
        Whether that may soon help.
    hung
        Loads in a row that the server took and did not answer in time.
    short
        Tries in a row that have found too little memory.
    """

    state: FailedState
    reason: str
    message: str
    attempts: int
    retry_at_s: float
    retry: Retry = "soon"
    hung: int = 0
    short: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probation:
    """A load that the server has answered, and that may still turn out not to last.

    Parameters
    ----------
    since_s
        When it was answered.
    attempts
        Failed tries in a row before it.
    """

    since_s: float
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything that is known of one model.

    Parameters
    ----------
    row
        What the server's index says; None when it says nothing.
    installed
        The copy in the repository.
    staged
        A complete download beside it.
    former
        The copy that gave its place to the one in the repository, kept until that one has loaded: the server
        may still hold it, and it comes back if the new one is refused.
    failure
        What went wrong last; None after a success.
    setback
        What became of the copy that is wanted, where the one in the repository, an older one, goes on in its
        place: it serves, or is loaded again, until the other is tried again.
    unload_asked_at_s
        When the unload was asked, or first seen, that the index does not confirm yet.
    load_seconds
        How long the last load took.
    unsure
        A load of an earlier run, or one that was not answered, may still be on its way to the server, and the
        index not show it yet. An unload queues behind it, so one is asked before files are touched.
    probation
        The last load, as long as it may turn out not to last; None once it has lasted.
    suspect
        The connection broke during its last load, and it is open whether the server has died.
    crashes
        Server processes in a row that have died during its loads.
    """

    row: IndexRow | None = None
    installed: Copy | None = None
    staged: Copy | None = None
    former: Copy | None = None
    failure: Failure | None = None
    setback: Failure | None = None
    unload_asked_at_s: float | None = None
    load_seconds: float | None = None
    unsure: bool = False
    probation: Probation | None = None
    suspect: bool = False
    crashes: int = 0

    @property
    def ready(self) -> bool:
        """Whether the server says that the model serves."""
        return self.row is not None and self.row.state == "READY"

    @property
    def held(self) -> bool:
        """Whether the server holds the model or is about to: its files must stay."""
        return self.row is not None and self.row.state != "UNAVAILABLE"


NOTHING = Seen()


def with_row(seen: Seen, row: IndexRow | None, *, now_s: float) -> Seen:
    """Return what is known of a model after a look at the server's index."""
    asked_at_s = seen.unload_asked_at_s
    if (
        row is not None
        and row.state == "READY"
        and asked_at_s is not None
        and now_s - asked_at_s < UNLOAD_GRACE_S
    ):
        row = IndexRow("UNLOADING", row.reason)
    if row is None or row.state != "UNLOADING":
        asked_at_s = None
    elif asked_at_s is None:
        asked_at_s = now_s  # by an earlier run, or somebody else
    probation = seen.probation
    if probation is not None and row is not None and row.state == "READY":
        probation = probation if now_s - probation.since_s < PROBATION_S else None
    came_up = _came_up(seen, row)
    if (row, asked_at_s, probation) == (seen.row, seen.unload_asked_at_s, seen.probation):
        return seen
    seen = replace(seen, row=row, unload_asked_at_s=asked_at_s, probation=probation)
    return replace(seen, failure=None, crashes=0) if came_up else seen


def _came_up(seen: Seen, row: IndexRow | None) -> bool:
    """Return whether the server has loaded by itself, or later than we waited, what failed to load before."""
    if seen.installed is None or seen.installed.loaded_pin is None:
        return False
    failed = seen.failure is not None and seen.failure.state == "FailedToLoad"
    return failed and not seen.ready and row is not None and row.state == "READY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One look at the world.

    Parameters
    ----------
    models
        By name; what is not here is nowhere.
    server_live
        Whether the server answered last time; when not, the rows are from before and nothing is asked of it.
    server_absent
        Whether there is certainly no server: then nobody holds any file.
    absence
        What is known of a server that should be there and is not.
    now_s
        A clock that only runs forward.
    """

    models: Mapping[str, Seen] = field(default_factory=dict)
    server_live: bool
    server_absent: bool = False
    absence: Absence = Absence.UNKNOWN
    now_s: float

    @property
    def may_touch_files(self) -> bool:
        """Whether it is known which files the server holds."""
        return self.server_live or self.server_absent

    def seen(self, name: str) -> Seen:
        """Return what is known of a model."""
        return self.models.get(name, NOTHING)

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agent.actions import Action, Discard, Download, Load, Remove, Stow, Unload, next_action
from agent.device_room import DeviceRoom
from agent.errors import (
    BrokenConnectionError,
    NobodyListensError,
    NoRoomError,
    RefusedError,
    UnansweredError,
    UnreachableError,
)
from agent.layouts.triton import lay_out
from agent.memory import DeviceMemory
from agent.observed import NOTHING, Copy, Failure, Probation, Seen
from agent.outcomes import (
    Discarded,
    Downloaded,
    Dropped,
    Failed,
    Installed,
    Loaded,
    Outcome,
    Removed,
    Stowed,
    UnloadAsked,
    after,
    blamed,
    not_answering,
    not_kept,
)
from agent.records import Copies
from agent.repository import Repository
from agent.servers.http import Answer, refusal
from agent.servers.port import HTTP, IndexRow, ServerInfo
from agent.site import Site, carry_out, unexpected
from agent.storage import Limits
from tests.support.agent_models import copy, install, model_folder, observed, on_gpu, row, target

M = target()
FAILURE = Failure(state="FailedToLoad", reason="x", message="x", attempts=2, retry_at_s=5.0)
NEW = Copy(storage_uri="file:///new")


class Server:
    """A server that answers every call, or raises what it is given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.fault: str | None = None
        self.calls: list[str] = []

    def _call(self, text: str) -> None:
        self.calls.append(text)
        if self.error is not None:
            raise self.error

    layout = staticmethod(lay_out)
    most_calls = None
    control = HTTP

    def info(self) -> ServerInfo:
        return ServerInfo(kind="fake", version="0")

    def index(self) -> Mapping[str, IndexRow]:
        return {}

    def load(self, name: str) -> None:
        self._call(f"load {name}")

    def unload(self, name: str) -> None:
        self._call(f"unload {name}")

    def find_fault(self, name: str, *, infer: bool, given: bytes | None) -> str | None:
        return self.fault

    def rest(self) -> None:
        self._call("rest")


def load(framework: str = "sim") -> Load:
    assert M.pin is not None
    return Load(name="m", pin=M.pin, framework=framework, urgency=(0, 0))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "models", tmp_path / "state", Limits())
    made.prepare()
    return made


def act(action: Action, repository: Repository, server: Server, *, unwanted: bool = False) -> Outcome:
    site = Site(repository=repository, server=server, seconds=lambda: 0.0)
    return carry_out(action, site, unwanted=lambda: unwanted)


def test_every_action_does_its_part(repository: Repository, tmp_path: Path) -> None:
    server = Server()
    uri = model_folder(tmp_path / "source")
    download = Download(name="m", storage_uri=uri, urgency=(0, 0))
    assert isinstance(act(download, repository, server), Downloaded)
    assert isinstance(act(install(M), repository, server), Installed)
    assert isinstance(act(load(), repository, server), Loaded)
    assert act(Unload(name="m", devices=()), repository, server) == UnloadAsked()
    assert isinstance(act(Stow(name="m"), repository, server), Stowed)
    assert server.calls == ["load m", "unload m"]
    assert isinstance(act(download, repository, server), Downloaded)
    assert act(Discard(name="m"), repository, server) == Discarded()
    assert act(Remove(name="m"), repository, server) == Removed()
    assert repository.installed() == repository.staged() == {}
    assert act(download, repository, server, unwanted=True) == Dropped()


@pytest.mark.parametrize(
    ("error", "reason", "retry"),
    [
        (RefusedError(400, "no such operator"), "LoadRefused", "late"),
        (RefusedError(400, "CUDA error 2 (out of memory)"), "OutOfMemory", "late"),
        (RefusedError(403, "out of memory"), "Denied", "late"),
        (UnreachableError("gone"), "ServerUnreachable", "soon"),
        (UnansweredError("too late"), "ServerUnreachable", "soon"),
        (OSError(errno.ENOSPC, "full"), "DiskFull", "soon"),
        (OSError(errno.EIO, "bad"), "IoError", "soon"),
    ],
)
def test_a_failed_load_says_why_and_when_again(
    repository: Repository, tmp_path: Path, error: Exception, reason: str, retry: str
) -> None:
    uri = model_folder(tmp_path / "source")
    act(Download(name="m", storage_uri=uri, urgency=(0, 0)), repository, Server())
    act(install(M), repository, Server())
    outcome = act(load(), repository, Server(error))
    assert outcome == Failed(
        state="FailedToLoad",
        reason=reason,
        message=str(error),
        retry=retry,  # type: ignore[arg-type]
        copies=repository.copies("m"),
        hung=isinstance(error, UnansweredError),
    )
    assert M.pin is not None
    assert repository.installed()["m"].loaded_pin == M.pin.instance_group  # the server will find it


@pytest.mark.parametrize("error", [RefusedError(400, "no memory"), UnreachableError("too late")])
def test_a_failed_move_is_not_taken_for_a_model_that_has_stayed(
    repository: Repository, tmp_path: Path, error: Exception
) -> None:
    """Its config says the new pin already, and a late load or the server's next start follows that."""
    uri = model_folder(tmp_path / "source")
    here, there = target(storage_uri=uri, devices=on_gpu(0)), target(storage_uri=uri, devices=on_gpu(1))
    assert here.pin is not None
    assert there.pin is not None
    act(Download(name="m", storage_uri=uri, urgency=(0, 0)), repository, Server())
    act(install(here), repository, Server())
    seen = Seen(installed=repository.installed()["m"], row=row("READY"))
    move = Load(name="m", pin=there.pin, framework="sim", urgency=(0, 0))
    failed = after(seen, act(move, repository, Server(error)), now_s=0.0, wait_s=1.0)
    assert failed.installed == repository.installed()["m"]
    back = next_action("m", here, observed({"m": failed}))
    repeated = isinstance(error, UnreachableError)
    assert back == Load(
        name="m", pin=here.pin, framework="sim", urgency=(0, 0), kept=("gpu:0",), repeated=repeated
    )


def test_a_fault_of_our_own_in_a_load_is_judged_by_what_lies_on_disk(
    repository: Repository, tmp_path: Path
) -> None:
    fetched(repository, model_folder(tmp_path / "source"))
    act(install(M), repository, Server())
    seen = Seen(installed=repository.installed()["m"], row=row("READY"))
    there = target(devices=on_gpu(1)).pin
    assert there is not None
    repository.place("m", there, "sim")
    site = Site(repository=repository, server=Server())
    for action, pin in ((load(), None), (Stow(name="m"), M.pin.instance_group if M.pin else None)):
        known = after(seen, unexpected(action, KeyError("m"), site), now_s=0.0, wait_s=1.0)
        assert known.installed is not None
        assert known.installed.loaded_pin == pin


def test_a_model_whose_config_is_no_text_is_a_failure_of_that_model(
    repository: Repository, tmp_path: Path
) -> None:
    uri = model_folder(tmp_path / "source")
    (tmp_path / "source" / "config.pbtxt").write_bytes(b"\xff\xfe")
    act(Download(name="m", storage_uri=uri, urgency=(0, 0)), repository, Server())
    outcome = act(install(M), repository, Server())
    assert isinstance(outcome, Failed)
    assert (outcome.state, outcome.reason, outcome.retry) == ("FailedToLoad", "BadConfig", "late")


def fetched(repository: Repository, uri: str) -> None:
    assert isinstance(
        act(Download(name="m", storage_uri=uri, urgency=(0, 0)), repository, Server()), Downloaded
    )


def weights(repository: Repository) -> str:
    return (repository.model_dir / "m" / "1" / "weights").read_text()


@pytest.fixture
def updating(repository: Repository, tmp_path: Path) -> Seen:
    """A model of which an old copy serves and a new one is staged."""
    fetched(repository, model_folder(tmp_path / "old"))
    act(install(M), repository, Server())
    assert isinstance(act(load(), repository, Server()), Loaded)
    fetched(repository, model_folder(tmp_path / "new"))
    copies = repository.copies("m")
    return Seen(installed=copies.installed, staged=copies.staged, row=row("READY"))


UPDATE = replace(load(), update=True)


def test_a_new_copy_takes_the_place_of_the_old_one(repository: Repository, updating: Seen) -> None:
    done = after(updating, act(UPDATE, repository, Server()), now_s=0.0, wait_s=0.0)
    assert weights(repository) == "new"
    assert (done.installed, done.staged, done.former) == (repository.installed()["m"], None, None)
    assert repository.copies("m") == Copies(installed=done.installed)
    assert (done.setback, done.failure, done.ready) == (None, None, True)


def test_an_old_copy_comes_back_where_the_new_one_is_refused(repository: Repository, updating: Seen) -> None:
    error = RefusedError(400, "out of tape")
    failed = after(updating, act(UPDATE, repository, Server(error)), now_s=0.0, wait_s=5.0)
    assert weights(repository) == "old"
    assert (failed.installed, failed.former) == (updating.installed, None)
    assert failed.staged is not None
    assert failed.staged.storage_uri == (updating.staged.storage_uri if updating.staged else None)
    assert failed.failure is None
    assert failed.setback is not None
    assert (failed.setback.attempts, failed.setback.retry_at_s) == (1, 5.0)
    again = after(failed, act(UPDATE, repository, Server(error)), now_s=9.0, wait_s=5.0)
    assert again.setback is not None
    assert again.setback.attempts == 2
    done = after(again, act(UPDATE, repository, Server()), now_s=20.0, wait_s=0.0)
    assert weights(repository) == "new"
    assert (done.setback, done.probation) == (None, Probation(since_s=20.0, attempts=2))


def test_without_an_answer_both_copies_stay_until_it_is_known_which_serves(
    repository: Repository, updating: Seen
) -> None:
    late = act(UPDATE, repository, Server(UnansweredError("too late")))
    seen = after(updating, late, now_s=0.0, wait_s=1.0)
    assert weights(repository) == "new"
    assert (seen.former, seen.staged, seen.setback) == (updating.installed, None, None)
    assert seen.installed is not None
    assert seen.installed.loaded_pin is None
    assert (seen.failure.hung if seen.failure else 0) == 1
    retry = next_action("m", target(storage_uri=seen.installed.storage_uri), observed({"m": seen}))
    assert retry == replace(load(), hung=1, repeated=True)
    refused = after(seen, act(retry, repository, Server(RefusedError(400, "no"))), now_s=1.0, wait_s=9.0)
    assert weights(repository) == "old"
    assert refused.setback is not None
    assert refused.installed is not None
    assert refused.installed.loaded_pin is None  # the first load may have been carried out
    loaded = after(refused, act(load(), repository, Server()), now_s=2.0, wait_s=0.0)
    assert (loaded.setback, loaded.staged) == (refused.setback, refused.staged)


@pytest.mark.parametrize("error", [NoRoomError("no room"), OSError(errno.EIO, "bad")])
def test_where_the_server_was_not_asked_again_both_copies_stay(
    repository: Repository, updating: Seen, error: Exception
) -> None:
    """It may have carried out the load that was not answered in time."""
    seen = after(updating, act(UPDATE, repository, Server(UnansweredError("late"))), now_s=0.0, wait_s=1.0)
    assert seen.installed is not None
    again = next_action("m", target(storage_uri=seen.installed.storage_uri), observed({"m": seen}))
    assert again is not None
    failed = after(seen, act(again, repository, Server(error)), now_s=1.0, wait_s=1.0)
    assert weights(repository) == "new"
    assert (failed.installed, failed.former) == (seen.installed, seen.former)


def test_an_update_that_may_have_been_carried_out_is_asked_for_without_room_for_another(
    repository: Repository, updating: Seen
) -> None:
    here = target(devices=on_gpu(0), load_peak_bytes=5)
    assert here.pin is not None
    update = replace(UPDATE, pin=here.pin, peak_bytes=5)
    seen = after(updating, act(update, repository, Server(UnansweredError("late"))), now_s=0.0, wait_s=1.0)
    assert seen.installed is not None
    full = DeviceMemory(uuid="GPU", index=0, total_bytes=9, reserved_bytes=0, used_bytes=5)
    wanted = target(devices=on_gpu(0), load_peak_bytes=5, storage_uri=seen.installed.storage_uri)
    again = next_action("m", wanted, observed({"m": seen}))
    assert again is not None
    site = Site(repository=repository, server=Server(), room=DeviceRoom(lambda: [full]), seconds=lambda: 0.0)
    assert isinstance(carry_out(again, site, unwanted=lambda: False), Loaded)
    assert weights(repository) == "new"


def test_a_copy_without_room_gives_way_where_the_server_holds_neither(
    repository: Repository, updating: Seen
) -> None:
    act(replace(install(M), update=True), repository, Server())
    done = act(load(), repository, Server(NoRoomError("no room")))
    assert isinstance(done, Failed)
    assert (weights(repository), done.update) == ("old", True)


def test_an_answer_of_something_between_does_not_tell_which_copy_serves(
    repository: Repository, updating: Seen
) -> None:
    failed = after(
        updating, act(UPDATE, repository, Server(RefusedError(504, "late"))), now_s=0.0, wait_s=5.0
    )
    assert weights(repository) == "old"
    assert failed.installed is not None
    assert failed.installed.loaded_pin is None
    assert isinstance(next_action("m", M, observed({"m": failed}, now_s=1.0)), Load)


def test_a_new_copy_that_loads_and_does_not_answer_gives_way_to_the_old_one(
    repository: Repository, updating: Seen
) -> None:
    server = Server()
    server.fault = "a test inference failed"
    site = Site(repository=repository, server=server, seconds=lambda: 0.0, probe=lambda _name: "infer")
    failed = after(updating, carry_out(UPDATE, site, unwanted=lambda: False), now_s=0.0, wait_s=5.0)
    assert server.calls == ["load m", "load m"]
    assert weights(repository) == "old"
    assert failed.installed == updating.installed
    assert failed.setback is not None
    assert failed.setback.reason == "ProbeFailed"


def test_a_new_copy_without_room_beside_the_old_one_is_not_installed(
    repository: Repository, updating: Seen
) -> None:
    room = DeviceRoom(
        lambda: [DeviceMemory(uuid="GPU", index=0, total_bytes=9, reserved_bytes=0, used_bytes=5)]
    )
    server = Server()
    pin = target(devices=on_gpu(0)).pin
    assert pin is not None
    site = Site(repository=repository, server=server, room=room, seconds=lambda: 0.0)
    update = replace(UPDATE, pin=pin, peak_bytes=5)
    failed = after(updating, carry_out(update, site, unwanted=lambda: False), now_s=0.0, wait_s=5.0)
    assert (server.calls, weights(repository)) == ([], "old")
    assert failed == replace(updating, setback=failed.setback)
    assert failed.setback is not None
    assert failed.setback.reason == "NoRoom"


def test_tries_without_memory_are_counted_in_a_row(updating: Seen) -> None:
    def tried(seen: Seen, *reasons: str) -> Seen:
        for reason in reasons:
            failed = Failed(state="FailedToLoad", reason=reason, message="", retry="soon", update=True)
            seen = after(seen, failed, now_s=0.0, wait_s=0.0)
        return seen

    for reasons, short in (
        (("NoRoom", "NoRoom"), 2),
        (("NoRoom", "OutOfMemory", "NoRoom"), 3),
        (("NoRoom", "LoadRefused", "ServerUnreachable"), 0),
        (("LoadRefused", "LoadRefused", "OutOfMemory"), 1),
    ):
        setback = tried(updating, *reasons).setback
        assert setback is not None
        assert (setback.short, setback.attempts) == (short, len(reasons))


def test_downloads_that_failed_do_not_count_among_the_tries_to_load(updating: Seen) -> None:
    cut = Failed(state="DownloadFailed", reason="TooSlow", message="", retry="soon", update=True)
    refused = Failed(state="FailedToLoad", reason="LoadRefused", message="", retry="late", update=True)
    copy = updating.staged
    assert copy is not None
    for failed, setback in ((cut, False), (refused, True)):
        seen = after(updating, failed, now_s=0.0, wait_s=0.0)
        had = after(seen, Downloaded(copy=copy), now_s=1.0, wait_s=0.0)
        assert had.setback == (seen.setback if setback else None)


def test_an_old_copy_that_was_put_aside_comes_back_where_the_new_one_is_refused(
    repository: Repository, updating: Seen
) -> None:
    gone = replace(updating, row=None)
    placed = after(gone, act(replace(install(M), update=True), repository, Server()), now_s=0.0, wait_s=0.0)
    assert weights(repository) == "new"
    assert placed.former == updating.installed
    failed = after(placed, act(load(), repository, Server(RefusedError(400, "no"))), now_s=0.0, wait_s=5.0)
    assert weights(repository) == "old"
    assert (failed.former, failed.failure) == (None, None)
    assert failed.setback is not None
    assert isinstance(next_action("m", M, observed({"m": failed})), Load)


def test_files_that_cannot_be_had_leave_the_old_copy_in_use(repository: Repository, updating: Seen) -> None:
    absent = Download(name="m", storage_uri="file:///absent", urgency=(0, 0), update=True)
    failed = after(updating, act(absent, repository, Server()), now_s=0.0, wait_s=5.0)
    assert failed.failure is None
    assert failed.setback is not None
    assert (failed.setback.state, failed.setback.reason) == ("DownloadFailed", "NotFound")
    assert weights(repository) == "old"


def test_a_refused_unload_is_asked_again_soon(repository: Repository) -> None:
    outcome = act(Unload(name="m", devices=()), repository, Server(RefusedError(503, "not now")))
    assert outcome == Failed(state="Unloading", reason="UnloadRefused", message="not now", retry="soon")


@pytest.mark.parametrize(
    ("seen", "outcome", "expected"),
    [
        (Seen(failure=FAILURE), Downloaded(copy=NEW), Seen(staged=NEW)),
        (
            Seen(installed=copy(), staged=NEW, row=row("UNAVAILABLE")),
            Installed(copy=NEW),
            Seen(installed=NEW),
        ),
        (
            Seen(installed=copy(), failure=FAILURE),
            Loaded(copy=NEW, seconds=2.0),
            Seen(
                installed=NEW,
                row=row("READY"),
                load_seconds=2.0,
                probation=Probation(since_s=10.0, attempts=2),
            ),
        ),
        (
            Seen(installed=copy(), probation=Probation(since_s=1.0, attempts=3)),
            Loaded(copy=NEW, seconds=2.0),
            Seen(
                installed=NEW,
                row=row("READY"),
                load_seconds=2.0,
                probation=Probation(since_s=10.0, attempts=3),
            ),
        ),
        (
            Seen(row=row("UNAVAILABLE"), probation=Probation(since_s=1.0, attempts=3)),
            not_kept(IndexRow("UNAVAILABLE", "died")),
            Seen(
                row=row("UNAVAILABLE"),
                failure=Failure(
                    state="FailedToLoad",
                    reason="NotKept",
                    message="died",
                    attempts=4,
                    retry_at_s=17.0,
                    retry="late",
                ),
            ),
        ),
        (
            Seen(row=row("READY"), probation=Probation(since_s=1.0, attempts=3)),
            Failed(state="DownloadFailed", reason="y", message="why", retry="late"),
            Seen(
                row=row("READY"),
                failure=Failure(
                    state="DownloadFailed",
                    reason="y",
                    message="why",
                    attempts=1,
                    retry_at_s=17.0,
                    retry="late",
                ),
                probation=Probation(since_s=1.0, attempts=3),
            ),
        ),
        (
            Seen(installed=copy(), row=row("READY"), probation=Probation(since_s=1.0)),
            UnloadAsked(),
            Seen(installed=copy(), row=row("UNLOADING"), unload_asked_at_s=10.0),
        ),
        (
            Seen(installed=copy(), row=row("READY")),
            UnloadAsked(),
            Seen(installed=copy(), row=row("UNLOADING"), unload_asked_at_s=10.0),
        ),
        (
            Seen(installed=copy(), row=row("READY"), unsure=True),
            UnloadAsked(),
            Seen(installed=copy(), row=row("UNLOADING"), unload_asked_at_s=10.0),
        ),
        (
            Seen(installed=copy()),
            Failed(state="FailedToLoad", reason="ServerUnreachable", message="why", retry="soon"),
            Seen(
                installed=copy(),
                failure=Failure(
                    state="FailedToLoad",
                    reason="ServerUnreachable",
                    message="why",
                    attempts=1,
                    retry_at_s=17.0,
                ),
                unsure=True,
            ),
        ),
        (Seen(installed=copy(), staged=NEW), Removed(), NOTHING),
        (Seen(installed=copy(), staged=NEW), Discarded(), Seen(installed=copy())),
        (Seen(failure=FAILURE), Dropped(), Seen(failure=FAILURE)),
        (
            Seen(row=row("READY"), failure=FAILURE),
            Failed(state="FailedToLoad", reason="y", message="why", retry="late"),
            Seen(
                row=row("READY"),
                failure=Failure(
                    state="FailedToLoad",
                    reason="y",
                    message="why",
                    attempts=3,
                    retry_at_s=17.0,
                    retry="late",
                ),
            ),
        ),
    ],
)
def test_what_is_known_afterwards(seen: Seen, outcome: Outcome, expected: Seen) -> None:
    assert after(seen, outcome, now_s=10.0, wait_s=7.0) == expected


def test_a_model_that_does_not_answer_after_its_load_is_taken_from_the_server(
    repository: Repository, tmp_path: Path
) -> None:
    server = Server()
    server.fault = "a test inference failed: stub gone"
    uri = model_folder(tmp_path / "source")
    act(Download(name="m", storage_uri=uri, urgency=(0, 0)), repository, server)
    act(install(M), repository, server)
    site = Site(repository=repository, server=server, seconds=lambda: 0.0, probe=lambda _name: "infer")
    outcome = carry_out(load(), site, unwanted=lambda: False)
    assert outcome == Failed(
        state="FailedToLoad",
        reason="ProbeFailed",
        message=server.fault,
        retry="late",
        copies=repository.copies("m"),
    )
    assert server.calls == ["load m", "unload m"]
    assert isinstance(act(load(), repository, server), Loaded)  # not looked at where nobody asks for it


@pytest.mark.parametrize(
    ("status", "retry"), [(400, "late"), (422, "rarely"), (404, "rarely"), (429, "soon")]
)
def test_what_will_not_get_better_is_rarely_tried(
    repository: Repository, tmp_path: Path, status: int, retry: str
) -> None:
    act(Download(name="m", storage_uri=model_folder(tmp_path / "s"), urgency=(0, 0)), repository, Server())
    act(install(M), repository, Server())
    outcome = act(load(), repository, Server(refusal(Answer(status, b"no"))))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retry) == ("LoadRefused", retry)


def test_a_model_that_does_not_answer_is_loaded_again_soon_after_its_unload_was_asked() -> None:
    seen = after(Seen(row=row("READY")), not_answering("dead"), now_s=10.0, wait_s=0.0)
    assert seen.failure is not None
    assert (seen.failure.reason, seen.failure.attempts, seen.failure.retry_at_s) == ("ProbeFailed", 1, 10.0)
    asked = after(seen, UnloadAsked(), now_s=11.0, wait_s=0.0)
    assert asked.failure is not None
    assert (asked.failure.attempts, asked.failure.retry_at_s) == (1, 16.0)
    loaded = after(asked, Loaded(copy=NEW, seconds=1.0), now_s=17.0, wait_s=0.0)
    assert (loaded.failure, loaded.probation) == (None, Probation(since_s=17.0, attempts=1))


def test_a_load_during_which_the_connection_broke_is_a_suspicion(
    repository: Repository, tmp_path: Path
) -> None:
    fetched(repository, model_folder(tmp_path / "source"))
    act(install(M), repository, Server())
    seen = Seen(installed=repository.installed()["m"])
    for error, suspect in ((BrokenConnectionError("cut"), True), (NobodyListensError("refused"), False)):
        failed = after(seen, act(load(), repository, Server(error)), now_s=0.0, wait_s=1.0)
        assert (failed.suspect, failed.crashes) == (suspect, 0)


def test_the_former_copy_takes_the_place_of_one_that_the_server_died_of(
    repository: Repository, updating: Seen
) -> None:
    broke = act(UPDATE, repository, Server(BrokenConnectionError("cut")))
    seen = blamed(after(updating, broke, now_s=0.0, wait_s=1.0), now_s=0.0, wait_s=1.0)
    done = act(Stow(name="m", unsure=True), repository, Server())
    given_back = after(seen, done, now_s=1.0, wait_s=0.0)
    assert weights(repository) == "old"
    assert repository.copies("m") == Copies(installed=given_back.installed, staged=given_back.staged)
    assert given_back.staged is not None
    assert (given_back.failure, given_back.setback, given_back.former) == (None, seen.failure, None)
    assert (given_back.crashes, given_back.unsure) == (1, True)
    older = Loaded(copy=copy(), seconds=1.0)
    assert after(given_back, older, now_s=2.0, wait_s=0.0).crashes == 1
    newer = replace(older, update=True)
    assert after(given_back, newer, now_s=2.0, wait_s=0.0).crashes == 0

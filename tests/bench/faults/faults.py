"""Faults and a day without one: each brings a stage to the moment from which all has to end well."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from planner.rehearsal.mount import mount_files
from tests.bench.faults.stage import DISK_BYTES, Stage
from tests.support.agent_process import eventually

SWAPS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault: what is said of it, and how it comes about."""

    name: str
    happen: Callable[[Stage], None]
    small_disk: bool = False


def names(count: int) -> list[str]:
    return [f"m{number:03}" for number in range(count)]


def stock(stage: Stage, count: int, **parameters: str) -> list[str]:
    """Put models into the store and return their names."""
    made = names(count)
    for name in made:
        stage.store.add(name, "a", **parameters)
    return made


def nothing(stage: Stage) -> None:
    models = stock(stage, 20)
    stage.begin(*models[:19])
    stage.want(models[1:])


def many_at_the_start(stage: Stage) -> None:
    models = stock(stage, 150)
    stage.serve()
    stage.want(models)
    stage.agent.start()


def late_server(stage: Stage) -> None:
    models = stock(stage, 10)
    stage.want(models)
    stage.agent.start()
    eventually(lambda: all(stage.store.asked[name] for name in models), "the downloads")
    time.sleep(1.0)  # and whatever follows them at once
    stage.serve()


def server_restarts(stage: Stage) -> None:
    stage.begin(*stock(stage, 10))
    stage.server.kill()
    stage.server.start()
    stage.server.wait_live()


def load_fails_once(stage: Stage) -> None:
    models = stock(stage, 10)
    lock = stage.folder / "lock"
    lock.touch()
    stage.store.add("odd", "a", fail_file=str(lock))
    stage.begin(*models)
    stage.want([*models, "odd"])
    eventually(lambda: "failed to load 'odd'" in stage.server.log.read_text(), "the load that fails")
    lock.unlink()


def storage_error_once(stage: Stage) -> None:
    models = stock(stage, 10)
    stage.store.failing[models[4]] = 1
    stage.serve()
    stage.want(models)
    stage.agent.start()
    eventually(lambda: stage.store.asked[models[4]], "the request that fails")


def changed_and_changed_back(stage: Stage) -> None:
    models = stock(stage, 10)
    stage.store.add(models[0], "b")
    stage.begin(*models)
    stage.desired[models[0]] = "b"
    stage.mount()
    eventually(lambda: stage.held() == stage.desired, "the new edition")
    stage.want(models)


def new_version_cannot_be_fetched(stage: Stage) -> None:
    """Its store answers 500 as long as it is asked; what served before has to serve on."""
    models = stock(stage, 10)
    stage.begin(*models)
    asked = stage.store.asked[models[0]]
    stage.store.failing[models[0]] = 1_000_000
    stage.desired[models[0]] = "b"
    stage.mount()
    eventually(lambda: stage.store.asked[models[0]] > asked, "the request that fails")
    stage.desired[models[0]] = "a"


def new_version_does_not_load(stage: Stage) -> None:
    models = stock(stage, 10)
    stage.store.add(models[0], "b", fail="out of tape")
    stage.begin(*models)
    stage.desired[models[0]] = "b"
    stage.mount()
    eventually(lambda: "out of tape" in stage.server.log.read_text(), "the load that fails")
    stage.desired[models[0]] = "a"


def changed_while_the_first_load(stage: Stage) -> None:
    """One model is taken away and another added while the first ones load."""
    models = stock(stage, 10)
    stage.store.add("slow", "a", load_ms="3000")
    stage.store.add("more", "a")
    stage.serve()
    stage.want([*models, "slow"])
    stage.agent.start()
    eventually(lambda: "loading: slow" in stage.server.log.read_text(), "the slow load")
    stage.want([*models, "more"])


def in_and_out(stage: Stage) -> None:
    """An agent that stands still may by chance have what was wanted, so one more change follows."""
    models = stock(stage, 20, load_ms="300")
    stage.begin()
    for swap in range(SWAPS):
        stage.want(models if swap % 2 else [])
        time.sleep(0.05)
    time.sleep(3.0)
    stage.want(models[1:])


def killed_while_it_downloads(stage: Stage) -> None:
    models = stock(stage, 10)
    stage.store.add("half", "a", size=1 << 20)
    stage.store.holding.add("half")
    stage.serve()
    stage.want([*models, "half"])
    stage.agent.start()
    stage.unjudged = {"half"}
    eventually(lambda: set(stage.held()) == set(models) and stage.store.asked["half"], "half a download")
    stage.agent.kill()
    stage.unjudged = set()
    stage.store.holding.clear()
    stage.store.released.set()
    stage.agent.start()


def document_cut_off(stage: Stage) -> None:
    models = stock(stage, 11)
    stage.begin(*models[:10])
    text = stage.text()
    mount_files(stage.folder / "configs", {"models.json": text[: len(text) // 2]})
    time.sleep(3.0)
    stage.want(models)


def full_disk(stage: Stage) -> None:
    models = stock(stage, 5)
    stage.store.add("large", "a", size=1 << 20)
    stage.begin(*models)
    filler = stage.disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            for _ in range(DISK_BYTES):
                stream.write(bytes(1 << 12))
        except OSError:
            pass  # full, as it should be
    stage.want([*models, "large"])
    eventually(lambda: stage.store.asked["large"], "the download")
    time.sleep(2.0)
    filler.unlink()


def hanging_load(stage: Stage) -> None:
    """One load never ends; the other models, and one that is asked for later, do not suffer from it."""
    models = stock(stage, 10)
    stage.store.add("stuck", "a", load_ms="3600000")
    stage.store.add("more", "a")
    stage.unjudged = {"stuck"}
    stage.serve()
    stage.want(["stuck", *models])
    stage.agent.start()
    eventually(lambda: "loading: stuck" in stage.server.log.read_text(), "the load that hangs")
    stage.want(["stuck", *models, "more"])


CONTROL = Fault(name="nothing: one model comes, one goes", happen=nothing)

FAULTS = (
    Fault(name="150 models at the start", happen=many_at_the_start),
    Fault(name="the server comes after the agent", happen=late_server),
    Fault(name="the server restarts", happen=server_restarts),
    Fault(name="a load is refused once", happen=load_fails_once),
    Fault(name="storage answers 500 once", happen=storage_error_once),
    Fault(name="a model's address is changed, and changed back", happen=changed_and_changed_back),
    Fault(name="a new version cannot be fetched", happen=new_version_cannot_be_fetched),
    Fault(name="a new version does not load", happen=new_version_does_not_load),
    Fault(name="the document changes while the first models load", happen=changed_while_the_first_load),
    Fault(name="20 models in and out 40 times in 2 s, then one goes", happen=in_and_out),
    Fault(name="the agent is killed in a download", happen=killed_while_it_downloads),
    Fault(name="models.json is cut off, then whole", happen=document_cut_off),
    Fault(name="the disk is full, then has room", happen=full_disk, small_disk=True),
    Fault(name="one load never ends", happen=hanging_load),
)

"""Actions are carried out and reported whatever happens, and what failed is due again when it should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.actions import Discard, Download
from agent.crew import Crew, Finished, Retries
from agent.observed import Failure, Seen
from agent.outcomes import Discarded, Dropped, Failed
from agent.repository import Repository
from agent.servers.http import Address, Http, Timeouts
from agent.servers.triton import Triton
from agent.settings import Settings
from agent.site import Site
from agent.storage import Limits
from tests.support.agent_models import model_folder


class Threadless:
    """Holds the tasks of a crew until they are wanted, and what it reports."""

    def __init__(self, folder: Path) -> None:
        repository = Repository(folder / "models", folder / "state", Limits())
        repository.prepare()
        nobody = Address(url="http://127.0.0.1:9")
        site = Site(repository=repository, server=Triton(Http(nobody, connections=1, timeouts=Timeouts())))
        self.tasks: list[Callable[[], None]] = []
        self.reports: list[Finished] = []
        self.crew = Crew(site=lambda: site, submit=self.tasks.append, report=self.reports.append)

    def work(self) -> None:
        for task in self.tasks:
            task()
        self.tasks.clear()


@pytest.fixture
def threadless(tmp_path: Path) -> Threadless:
    return Threadless(tmp_path)


def test_what_is_not_wanted_any_more_ends_early_and_the_rest_is_done(
    threadless: Threadless, tmp_path: Path
) -> None:
    uri = model_folder(tmp_path / "source")
    download = Download(name="m", storage_uri=uri, urgency=(0, 0))
    threadless.crew.start(download)
    threadless.crew.start(Discard(name="other"))
    threadless.crew.break_off("m")
    threadless.work()
    assert threadless.reports == [Finished(download, Dropped()), Finished(Discard(name="other"), Discarded())]
    threadless.crew.end("m")
    threadless.crew.start(download)
    threadless.crew.leave()
    threadless.work()
    assert threadless.reports[-1].outcome == Dropped()


def test_a_fault_of_our_own_is_reported_as_a_failure(threadless: Threadless) -> None:
    nonsense: Any = 7
    threadless.crew.start(Download(name="m", storage_uri=nonsense, urgency=(0, 0)))
    threadless.work()
    (finished,) = threadless.reports
    assert isinstance(finished.outcome, Failed)
    assert finished.outcome.reason == "Internal"


def failure(at_s: float, attempts: int = 1) -> Failure:
    return Failure(state="FailedToLoad", reason="x", message="x", attempts=attempts, retry_at_s=at_s)


@pytest.fixture
def retries(tmp_path: Path) -> Retries:
    settings = Settings(
        config_dir=tmp_path, model_dir=tmp_path / "m", state_dir=tmp_path / "s", server_url="http://h:1"
    )
    return Retries(settings=settings, random=Random(7))


def test_models_are_due_in_the_order_of_their_waits(retries: Retries) -> None:
    retries.note("late", Seen(failure=failure(9.0)), now_s=1.0)
    retries.note("both", Seen(failure=failure(2.0), setback=failure(5.0)), now_s=1.0)
    retries.note("over", Seen(failure=failure(1.0)), now_s=1.0)
    retries.note("well", Seen(), now_s=1.0)
    assert retries.next_at_s == 2.0
    assert list(retries.take(5.0)) == ["both", "both"]
    assert (retries.next_at_s, list(retries.take(9.0))) == (9.0, ["late"])
    assert retries.next_at_s == float("inf")


def test_an_update_waits_by_its_own_failures(retries: Retries) -> None:
    before = Seen(setback=failure(0.0, attempts=4))
    plain = Failed(state="FailedToLoad", reason="x", message="x", retry="late")
    update = Failed(state="FailedToLoad", reason="x", message="x", retry="late", update=True)
    assert 5.0 <= retries.wait_s(before, plain) <= 10.0
    assert 80.0 <= retries.wait_s(before, update) <= 160.0
    assert retries.wait_s(before, Discarded()) == 0.0

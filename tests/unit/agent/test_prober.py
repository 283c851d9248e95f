"""Every loaded model is looked at in turn, at most two at a time."""

from __future__ import annotations

import threading
from collections import Counter

from agent.prober import Prober
from tests.support.agent_process import eventually


def test_models_are_probed_again_and_again_and_faults_are_told() -> None:
    probed: Counter[str] = Counter()
    at_once, most, lock = 0, 0, threading.Lock()
    told: list[tuple[str, str]] = []

    def probe(name: str) -> str | None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            probed[name] += 1
        with lock:
            at_once -= 1
        if name == "broken":
            raise ValueError(name)
        return "dead" if name == "dead" else None

    names = ["a", "broken", "dead"]
    prober = Prober(
        period_s=0.003, names=lambda: names, probe=probe, failed=lambda *fault: told.append(fault)
    )
    prober.start()
    eventually(lambda: min(probed[name] for name in names) >= 20, "every model, often")
    prober.stop()
    assert set(told) == {("dead", "dead")}
    assert most <= 2
    assert set(probed) == set(names)

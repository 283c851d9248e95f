from __future__ import annotations

from random import Random

import pytest

from agent.backoff import Backoff


@pytest.mark.parametrize(("attempts", "longest_s"), [(1, 2.0), (2, 4.0), (5, 30.0), (10**9, 30.0)])
def test_waits_double_up_to_the_cap_and_never_fall_below_half(attempts: int, longest_s: float) -> None:
    backoff = Backoff(base_s=2.0, cap_s=30.0)
    waits = [backoff.wait_s(attempts, Random(seed)) for seed in range(50)]
    assert all(longest_s / 2 <= wait_s <= longest_s for wait_s in waits)
    assert len(set(waits)) > 40

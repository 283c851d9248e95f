"""MIG geometry against what NVIDIA's guide enumerates."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pytest

from planner.domain.mig import fits, profiles_of

A100 = "NVIDIA-A100-SXM4-80GB"
H200 = "NVIDIA-H200"


@pytest.mark.parametrize(
    ("product", "names", "possible"),
    [
        (A100, ["7g.80gb"], True),
        (A100, ["7g.80gb", "1g.10gb"], False),
        (A100, ["3g.40gb", "3g.40gb"], True),
        (A100, ["4g.40gb", "3g.40gb"], True),
        (A100, ["4g.40gb", "4g.40gb"], False),
        (A100, ["3g.40gb", "3g.40gb", "1g.10gb"], False),
        (A100, ["2g.20gb"] * 3 + ["1g.10gb"], True),
        (A100, ["2g.20gb"] * 4, False),
        (A100, ["1g.10gb"] * 7, True),
        (A100, ["1g.10gb"] * 8, False),
        (A100, ["1g.20gb"] * 4, True),
        (A100, ["1g.10gb"] * 6 + ["1g.20gb"], True),
        (A100, [], True),
        (H200, ["1g.10gb"], False),
        (H200, ["1g.35gb"] * 4, True),
        ("NVIDIA-A30", ["1g.6gb"] * 4, True),
        ("NVIDIA-A30", ["2g.12gb", "1g.6gb", "1g.6gb"], True),
        ("NVIDIA-A30", ["2g.12gb", "2g.12gb", "1g.6gb"], False),
        ("Tesla-T4", ["1g.10gb"], False),
    ],
)
def test_what_a_gpu_can_be_cut_into(product: str, names: list[str], possible: bool) -> None:
    assert fits(product, names) is possible


def test_the_number_of_geometries_is_the_known_one() -> None:
    """An independent enumeration of the axis of eight slices counts 77 distinct non-empty multisets."""
    names = [profile.name for profile in profiles_of(A100)]
    possible = sum(
        fits(A100, chosen) for size in range(1, 8) for chosen in combinations_with_replacement(names, size)
    )
    assert possible == 77

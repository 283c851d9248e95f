"""Vector bin packing instances as scenarios, with what is published about each.

The suites are those of 'Classification and evaluation of the algorithms for vector bin packing' (Computers &
Operations Research 2024): New classes 1-3 and Panigrahy classes 1-5. A bin is a shard of one type without a
GPU and of price 1; a dimension is a named resource; an item is a model.
"""

from __future__ import annotations

import csv
import hashlib
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from planner.domain.scenario import Scenario
from tests.support.builders import CPU, a_model, a_scenario, a_shard_type, an_option

SUITES = ("new_class1-3", "panigrahy_class1-5")
OF_A_STRATUM = 2
"""Instances of each suite, class and size in the regression: 2 of 48 strata are 96."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A row of the published tables; ``optimum`` None is unknown."""

    suite: str
    name: str
    bound: int
    optimum: int | None
    best_of_275: int

    @property
    def stratum(self) -> tuple[str, str, int]:
        """Return suite, class and number of items."""
        return self.suite, self.name.split("_")[0], self.items

    @property
    def items(self) -> int:
        """Return the number of items that the instance's name says, which may be one off."""
        return int(self.name.split("_")[1])


def published(folder: Path) -> list[Known]:
    """Return the tables, sorted by suite, class and size."""
    found = []
    for suite in SUITES:
        with (folder / f"{suite}.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                optimum = int(row["optimum_or_-1"])
                found.append(
                    Known(
                        suite=suite,
                        name=row["instance"],
                        bound=int(row["lower_bound"]),
                        optimum=None if optimum < 0 else optimum,
                        best_of_275=int(row["best_of_275_heuristics"]),
                    )
                )
    return sorted(found, key=lambda item: (item.stratum, item.name))


def regression(known: list[Known]) -> list[Known]:
    """Return the same instances every time: of each stratum those with the smallest hashes of their names."""
    strata: dict[tuple[str, str, int], list[Known]] = defaultdict(list)
    for item in known:
        strata[item.stratum].append(item)
    return [item for members in strata.values() for item in sorted(members, key=_hash)[:OF_A_STRATUM]]


def _hash(item: Known) -> str:
    return hashlib.sha256(f"{item.suite}/{item.name}".encode()).hexdigest()


def texts(folder: Path, suite: str) -> dict[str, str]:
    """Return the text of every instance of a suite by its name."""
    return dict(_members(folder / f"{suite}.tar.gz"))


def _members(archive: Path) -> Iterator[tuple[str, str]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.name.endswith(".vbp") else None
            if content is not None:
                yield Path(member.name).stem, content.read().decode()


def scenario_of(name: str, text: str) -> Scenario:
    """Return an instance: dimensions, capacities, item types, then sizes and a count of each."""
    numbers = [[int(word) for word in line.split()] for line in text.splitlines() if line.strip()]
    (dimensions,), capacities, (types,), *rows = numbers
    assert len(rows) == types
    assert all(len(row) == dimensions + 1 for row in rows)
    items = [row[:dimensions] for row in rows for _ in range(row[dimensions])]
    bin_type = a_shard_type("bin", price=1, device_class=CPU, extra=_named(capacities))
    models = (a_model(f"m-{i:04}", an_option(extra=_named(item))) for i, item in enumerate(items))
    return a_scenario(*models, types=(bin_type,), name=name.replace("_", "-"))


def _named(amounts: list[int]) -> tuple[tuple[str, int], ...]:
    return tuple((f"dimension-{index}", amount) for index, amount in enumerate(amounts))

"""Ensembles: who has to live on one server, and who calls himself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Calls = Mapping[str, tuple[str, ...]]
"""The models that each ensemble calls; models that call none are left out."""


def cycles(calls: Calls) -> Iterator[tuple[str, ...]]:
    """Yield ensembles that call themselves, each cycle once, beginning and ending with the same name."""
    done: set[str] = set()
    for start in sorted(calls):
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = []
        _enter(start, calls, path, stack, done)
        while stack:
            _, rest = stack[-1]
            name = next(rest, None)
            if name is None:
                stack.pop()
                done.add(path.pop())
            elif name in path:
                yield (*path[path.index(name) :], name)
            else:
                _enter(name, calls, path, stack, done)


def _enter(
    name: str, calls: Calls, path: list[str], stack: list[tuple[str, Iterator[str]]], done: set[str]
) -> None:
    if name in calls and name not in done:
        path.append(name)
        stack.append((name, iter(calls[name])))


def together(calls: Calls) -> dict[str, str]:
    """Return the key of every model that an ensemble calls, and of the ensembles.

    Triton calls the steps of an ensemble in its own process. Two ensembles with a step in common live
    together with all of theirs; the key is the first of their names.
    """
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for ensemble, steps in calls.items():
        for step in steps:
            root[find(step)] = find(ensemble)
    first: dict[str, str] = {}
    for ensemble in sorted(calls):
        first.setdefault(find(ensemble), ensemble)
    return {name: first[find(name)] for name in root}

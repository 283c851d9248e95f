"""Waiting until objects of a cluster are what was asked for, and saying for what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from planner.errors import ShardpackError
from planner.report.words import plural

_LOOK_EVERY_S = 2.0
_SAY_EVERY_S = 10.0
_MOST_NAMES = 3

Read = Callable[[Sequence[dict[str, Any]]], Sequence[dict[str, Any] | None]]


def wait_until_ready(  # noqa: PLR0913 - what, how long, and time itself
    objects: Sequence[dict[str, Any]],
    read: Read,
    *,
    timeout_s: float,
    quiet: bool,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until all objects are ready; say every ten seconds for which.

    Parameters
    ----------
    objects
        What was applied.
    read
        Returns objects as they are now, in their order; None for those that are not there.
    timeout_s
        The longest wait.
    quiet
        Whether nothing is said.
    clock, sleep
        Time, in seconds.

    Raises
    ------
    ShardpackError
        Some are not ready in time; with why.
    """
    began = said = clock()
    waiting = list(_unready(objects, read))
    while waiting:
        now = clock()
        if now - began >= timeout_s:
            lines = [f"{name}: {reason or 'not ready'}" for _, name, reason in waiting]
            raise ShardpackError("\n".join([f"not ready after {timeout_s:g} s:", *lines]))
        if now - said >= _SAY_EVERY_S and not quiet:
            said = now
            click.echo(_waiting_text(waiting, now - began), err=True)
        sleep(min(_LOOK_EVERY_S, timeout_s))
        waiting = list(_unready([item for item, _, _ in waiting], read))


def _unready(objects: Sequence[dict[str, Any]], read: Read) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield what is not ready, with its name and why."""
    from planner.cluster.rollout import is_ready, reason_of
    from planner.report.listings import object_name

    for item, found in zip(objects, read(objects), strict=True):
        if found is None or not is_ready(found):
            yield item, object_name(item), "is not there" if found is None else reason_of(found)


def _waiting_text(waiting: Sequence[tuple[dict[str, Any], str, str]], elapsed_s: float) -> str:
    names = ", ".join(name for _, name, _ in waiting[:_MOST_NAMES])
    more = f" and {len(waiting) - _MOST_NAMES:,} more" if len(waiting) > _MOST_NAMES else ""
    return f"waiting for {plural(len(waiting), 'object')}: {names}{more} [{elapsed_s:.0f} s]"

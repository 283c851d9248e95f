"""Proposals as they are published: one ConfigMap that people, jobs and the controller's metrics read.

A summary is always whole. Plans and scenarios are in it too, compressed, as far as they fit below the limit
of a ConfigMap; what did not fit is named with its size, and ``shardpack propose --out`` writes it to files.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from planner.controller.proposing import Proposal
from planner.controller.views import LABEL_ROLE
from planner.domain.plan import Plan, gap_ratio
from planner.manifests.names import LABEL_MANAGED_BY, MANAGED_BY
from planner.report.differences import difference_text
from planner.report.text import plan_summary, refusal_lines
from planner.report.words import plural
from planner.scenario.dump import scenario_text
from planner.scenario.plan_file import plan_text
from planner.units import format_bytes, format_usd

NAME: Final = "shardpack-proposal"
"""Of the ConfigMap; a role can allow a job to write this one and no other."""

ROLE_PROPOSAL = "proposal"
SUMMARY_KEY, TEXT_KEY = "proposal.json", "proposal.txt"

MAX_FILES_BYTES = 800_000
"""Of compressed files together: below a ConfigMap's 1 MiB, and in base64 below etcd's 1.5 MiB."""

_MOST_TEXT_BYTES = 100_000
_MOST_LINES = 400
_MOST_REMARKS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a proposal: ``news.plan.json`` and its text."""

    name: str
    text: str


def files_of(proposal: Proposal) -> Iterator[File]:
    """Yield the scenario, what stands and what is proposed, as the commands read them; the plan first."""
    situation = proposal.situation
    scenario, group = situation.scenario, situation.group
    yield File(name=f"{group}.plan.json", text=plan_text(proposal.plan, scenario))
    yield File(name=f"{group}.scenario.json", text=scenario_text(scenario))
    yield File(name=f"{group}.now.json", text=plan_text(situation.now, scenario))


# -------------------------------------------------------------------------------------------------- summary


def summary(
    proposals: Iterable[Proposal], faults: Sequence[str], *, stamp: str, left_out: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what is worth knowing of proposals, in numbers.

    Parameters
    ----------
    proposals, faults
        One a group; and what is wrong with fleets.
    stamp
        The time, in RFC 3339.
    left_out
        Files that found no room, with their sizes.
    """
    return {
        "apiVersion": "shardpack.dev/v1alpha1",
        "kind": "Proposal",
        "at": stamp,
        "faults": list(faults)[:_MOST_REMARKS],
        "leftOut": list(left_out),
        "groups": [group_summary(item) for item in proposals],
    }


def group_summary(proposal: Proposal) -> dict[str, Any]:
    """Return what is worth knowing of one group."""
    situation, plan, change = proposal.situation, proposal.plan, proposal.difference
    wanted = sum(model.replicas for model in situation.scenario.models)
    bound = None if plan.bound is None else plan.bound.microusd_per_h
    return {
        "fleet": situation.fleet,
        "group": situation.group,
        "scenarioSha256": plan.scenario_sha256,
        "models": len(situation.scenario.models),
        "replicas": wanted,
        "now": _figures(situation.now, wanted, brokenRules=situation.broken),
        "proposed": {
            **_figures(plan, wanted),
            "boundUsdPerHour": None if bound is None else format_usd(bound),
            "gapRatio": _rounded(gap_ratio(plan)),
            "status": plan.status,
            "stoppedByClock": plan.stopped_by_clock,
        },
        "changes": {
            "moves": len(change.moved),
            "movesAtLeast": plan.moves.at_least if plan.moves else 0,
            "added": len(change.added),
            "removed": len(change.removed),
            "shardsOpened": len(change.opened),
            "shardsClosed": len(change.closed),
        },
        "footprintsRevised": len(situation.revisions),
        "remarks": list(proposal.remarks)[:_MOST_REMARKS],
    }


def _figures(plan: Plan, wanted: int, **more: int) -> dict[str, Any]:
    return {
        "usdPerHour": format_usd(plan.cost_microusd_per_h),
        "shards": len(plan.placement.shards),
        "unplacedReplicas": wanted - len(plan.placement.placed),
        **more,
    }


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 6)


def one_line(proposal: Proposal) -> str:
    """Return a proposal in one sentence, as its event says it."""
    found = group_summary(proposal)
    now, then, changes = found["now"], found["proposed"], found["changes"]
    cost = f"{then['usdPerHour']} instead of {now['usdPerHour']} USD/h"
    if then["usdPerHour"] == now["usdPerHour"]:
        cost = f"{now['usdPerHour']} USD/h as now"
    shards = f"{plural(then['shards'], 'shard')} instead of {now['shards']}"
    parts = [f"group {found['group']}: {cost}", shards, plural(changes["moves"], "move")]
    parts += [f"{plural(now['brokenRules'], 'broken rule')} mended"] if now["brokenRules"] else []
    missing = then["unplacedReplicas"]
    return ", ".join(parts) + (f"; {plural(missing, 'replica')} without a place" if missing else "")


def group_text(proposal: Proposal, *, most_lines: int = _MOST_LINES) -> str:
    """Return a proposal for people: its figures, what it changes line by line, and what is to be known."""
    situation, plan = proposal.situation, proposal.plan
    lines = [one_line(proposal), "", plan_summary(situation.scenario, plan, base=situation.now), ""]
    changes = difference_text(proposal.difference).splitlines()
    lines += changes[:most_lines]
    if len(changes) > most_lines:
        lines.append(f"and {len(changes) - most_lines:,} lines more")
    if plan.refusals:
        lines += ["", *refusal_lines(plan.refusals)]
    lines += ["" for _ in situation.revisions[:1]]
    lines += [
        f"measured: {item.model} takes {format_bytes(item.measured_bytes)} of GPU memory, and was planned "
        f"with {format_bytes(item.declared_bytes)}"
        for item in situation.revisions[:_MOST_REMARKS]
    ]
    lines += ["" for _ in proposal.remarks[:1]]
    lines += proposal.remarks[:_MOST_REMARKS]
    return "\n".join(lines) + "\n"


# ----------------------------------------------------------------------------------------------- ConfigMap


def config_map(
    proposals: Sequence[Proposal],
    faults: Sequence[str],
    *,
    namespace: str,
    stamp: str,
    max_files_bytes: int = MAX_FILES_BYTES,
) -> dict[str, Any]:
    """Return the ConfigMap that publishes proposals; equal proposals give equal bytes but for the time."""
    packed, left_out = _packed(proposals, max_files_bytes)
    text = "\n".join([*(f"{fault}\n" for fault in faults), *map(group_text, proposals)])
    told = summary(proposals, faults, stamp=stamp, left_out=left_out)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_ROLE: ROLE_PROPOSAL},
        },
        "data": {SUMMARY_KEY: json.dumps(told, indent=1) + "\n", TEXT_KEY: _cut(text)},
        "binaryData": packed,
    }


def _packed(proposals: Sequence[Proposal], most_bytes: int) -> tuple[dict[str, str], list[str]]:
    """Return files in base64 as far as there is room, and what found none: plans go before all scenarios."""
    packed: dict[str, str] = {}
    left_out: list[str] = []
    files = [list(files_of(item)) for item in proposals]
    for file in (row[rank] for rank in range(3) for row in files):
        content = gzip.compress(file.text.encode(), mtime=0)
        if len(content) <= most_bytes:
            most_bytes -= len(content)
            packed[f"{file.name}.gz"] = base64.b64encode(content).decode()
        else:
            left_out.append(f"{file.name}: {len(content):,} bytes compressed")
    return packed, left_out


def _cut(text: str) -> str:
    """Return a text that is not too long, cut at the end of a line."""
    content = text.encode()
    if len(content) <= _MOST_TEXT_BYTES:
        return text
    kept = content[:_MOST_TEXT_BYTES].decode(errors="ignore").rpartition("\n")[0]
    return f"{kept}\n(cut at {_MOST_TEXT_BYTES:,} bytes)\n"


# ------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What of a published proposal is watched, of one group; costs in USD an hour, None is not known."""

    group: str
    at: float
    cost_now: float
    cost: float
    bound: float | None
    moves: int
    shards_opened: int
    shards_closed: int
    unplaced: int
    broken: int


def read_figures(data: Mapping[str, str]) -> tuple[Figures, ...]:
    """Return the figures of a published proposal; none of one that is empty.

    Raises
    ------
    ValueError, KeyError, TypeError
        It is no such document.
    """
    if SUMMARY_KEY not in data:
        return ()
    told = json.loads(data[SUMMARY_KEY])
    at = datetime.fromisoformat(told["at"]).timestamp()
    return tuple(_group_figures(item, at) for item in told["groups"])


def _group_figures(item: Mapping[str, Any], at: float) -> Figures:
    now, then, changes = item["now"], item["proposed"], item["changes"]
    bound = then["boundUsdPerHour"]
    return Figures(
        group=str(item["group"]),
        at=at,
        cost_now=float(now["usdPerHour"]),
        cost=float(then["usdPerHour"]),
        bound=None if bound is None else float(bound),
        moves=int(changes["moves"]),
        shards_opened=int(changes["shardsOpened"]),
        shards_closed=int(changes["shardsClosed"]),
        unplaced=int(then["unplacedReplicas"]),
        broken=int(now["brokenRules"]),
    )

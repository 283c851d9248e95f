"""Plans as files: one text for one plan, read back strictly.

The text is JSON with one shard, one placement and one refusal a line, sorted, so that people can diff it;
equal plans of equal scenarios have equal bytes. Beside what a plan is, it holds figures that follow from the
scenario (what a device has and uses, the limits); ``check_figures`` finds those that an editor has changed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from sys import intern
from typing import Any

from pydantic import ValidationError

from planner.domain.memory import Need, ShardRoom, models_json_entry_bytes, need, node_devices, shard_room
from planner.domain.model import Model
from planner.domain.placement import Placed, Placement, Shard, parents
from planner.domain.plan import Bound, Budget, Moves, Plan, Refusal, gap_ratio
from planner.domain.references import find_broken_references
from planner.domain.rules import Rule, Violation
from planner.domain.scenario import Names, Scenario, names
from planner.domain.services import Service, services_pods
from planner.errors import Fault, InputError
from planner.scenario.documents import Document, json_data, json_fault, parse_document, path_text, read_text
from planner.scenario.faults import FaultLog, shape_faults
from planner.scenario.gather import read_head
from planner.scenario.plan_shape import PlacementShape, PlanShape
from planner.scenario.scenario_shape import API_VERSION
from planner.units import MICROUSD

_ROWS = ("shards", "services", "placements", "refusals")


# ------------------------------------------------------------------------------------------------ writing


def plan_text(plan: Plan, scenario: Scenario) -> str:
    """Return the text of a plan's file; it ends with a newline."""
    return "".join(plan_pieces(plan, scenario))


def plan_pieces(plan: Plan, scenario: Scenario) -> Iterator[str]:
    """Yield the text of a plan's file in pieces: that of a large fleet is written without being in memory."""
    return _text_pieces(_document(plan, scenario))


def document_text(document: Mapping[str, Any]) -> str:
    """Return the text of a plan's document: a row a line, everything else indented."""
    return "".join(_text_pieces(document))


def plan_document(plan: Plan, scenario: Scenario) -> dict[str, Any]:
    """Return a plan's document; every name in the plan has to mean something in the scenario."""
    document = _document(plan, scenario)
    return {**document, **{name: list(document[name]) for name in _ROWS if name in document}}


def _text_pieces(document: Mapping[str, Any]) -> Iterator[str]:
    mark = "{\n"
    for key, value in document.items():
        yield f"{mark}  {json.dumps(key)}: "
        if key in _ROWS:
            yield from _row_pieces(iter(value))
        else:
            yield json.dumps(value, indent=2).replace("\n", "\n  ")
        mark = ",\n"
    yield "\n}\n"


_ROWS_AT_A_TIME = 1000


def _row_pieces(rows: Iterator[Any]) -> Iterator[str]:
    mark = "[\n"
    while some := list(islice(rows, _ROWS_AT_A_TIME)):
        yield mark + ",\n".join([f"    {json.dumps(row)}" for row in some])
        mark = ",\n"
    yield "[]" if mark == "[\n" else "\n  ]"


def _document(plan: Plan, scenario: Scenario) -> dict[str, Any]:
    """Return a plan's document with rows that are made as they are asked for, where there are millions."""
    parts = names(scenario)
    residents, first = _residents(plan.placement, parts, scenario), parents(plan.placement.placed)
    shards = [
        _shard(shard, residents[shard.name], parts, scenario, first=first)
        for shard in sorted(plan.placement.shards, key=lambda shard: shard.name)
    ]
    ratio = gap_ratio(plan)
    return {
        "apiVersion": API_VERSION,
        "kind": "Plan",
        "metadata": _metadata(plan),
        "status": plan.status,
        "cost": {
            "usdPerHour": plan.cost_microusd_per_h / MICROUSD,
            "shards": len(shards),
            "devices": sum(len(shard["devices"]) for shard in shards),
        },
        "bound": _bound(plan.bound),
        "gapRatio": None if ratio is None else round(ratio, 6),
        "moves": _moves(plan.moves),
        "limits": _limits(plan, scenario, parts, shards),
        "shards": shards,
        # a plan without services reads as plans did before there were any
        **({"services": [_service(item, parts) for item in sorted(plan.services)]} if plan.services else {}),
        "placements": map(_placement, sorted(plan.placement.placed)),
        "refusals": map(_refusal, _sorted_refusals(plan.refusals)),
    }


def _metadata(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "namespace": plan.namespace,
        "scenarioSha256": plan.scenario_sha256,
        "seed": plan.seed,
        "budget": {
            "work": plan.budget.work,
            "timeLimitMs": plan.budget.time_limit_ms,
            "workers": plan.budget.workers,
        },
        "stoppedByClock": plan.stopped_by_clock,
        "versions": dict(sorted(plan.versions)),
        "baseSha256": plan.base_sha256,
    }


def _bound(bound: Bound | None) -> dict[str, Any] | None:
    if bound is None:
        return None
    return {"usdPerHour": bound.microusd_per_h / MICROUSD, "method": bound.method}


def _moves(moves: Moves | None) -> dict[str, Any] | None:
    return None if moves is None else {"count": moves.count, "atLeast": moves.at_least}


def _placement(placed: Placed) -> dict[str, Any]:
    return {
        "model": placed.model,
        "replica": placed.replica,
        "option": placed.option,
        "shard": placed.shard,
        "devices": list(placed.devices),
    }


def _service(service: Service, parts: Names) -> dict[str, Any]:
    transformer = parts.transformers[service.transformer]
    return {
        "name": service.name,
        "transformer": service.transformer,
        "group": service.group,
        "replicas": transformer.replicas,
        "nodes": list(service.nodes),
        "cpuMilli": transformer.cpu_milli * transformer.replicas,
        "memoryBytes": transformer.memory_bytes * transformer.replicas,
        "usdPerHour": transformer.price_microusd_per_h / MICROUSD,
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {
        "model": refusal.model,
        "replicas": refusal.replicas,
        "rule": refusal.rule.value,
        "subject": refusal.subject,
        "need": refusal.need,
        "have": refusal.have,
        "proven": refusal.proven,
    }


def _sorted_refusals(refusals: Iterable[Refusal]) -> list[Refusal]:
    return sorted(refusals, key=lambda item: (item.model, item.rule.value, item.subject, item.replicas))


_Resident = tuple[Placed, Model, Need]


def _residents(placement: Placement, parts: Names, scenario: Scenario) -> dict[str, list[_Resident]]:
    """Return who lives in each shard, with what they need there."""
    types = {shard.name: parts.shard_types[shard.shard_type] for shard in placement.shards}
    found: dict[str, list[_Resident]] = defaultdict(list)
    for placed in placement.placed:
        model = parts.models[placed.model]
        wants = need(
            model.footprints[placed.option],
            backend=parts.backends[model.backend],
            runtime=parts.runtimes[types[placed.shard].runtime],
            quantile=scenario.policy.quantile,
        )
        found[placed.shard].append((placed, model, wants))
    return found


def _shard(
    shard: Shard,
    residents: Sequence[_Resident],
    parts: Names,
    scenario: Scenario,
    *,
    first: Mapping[str, Placed],
) -> dict[str, Any]:
    shard_type = parts.shard_types[shard.shard_type]
    room = shard_room(
        shard_type,
        parts,
        policy=scenario.policy,
        max_config_map_bytes=scenario.cluster.max_config_map_bytes,
        devices=node_devices(shard, parts.nodes),
    )
    gpu = parts.device_classes[shard_type.device_class].kind == "gpu"
    return {
        "name": shard.name,
        "shardType": shard.shard_type,
        "group": shard_type.group,
        "node": shard.node,
        "nodeDevices": list(shard.node_devices),
        "devices": _devices(room, residents, parts) if gpu else [],
        "used": _used(residents, parts, first=first),
    }


def _devices(room: ShardRoom, residents: Sequence[_Resident], parts: Names) -> list[dict[str, Any]]:
    rows = []
    for index, device in enumerate(room.devices):
        here = [(model, wants) for placed, model, wants in residents if index in placed.devices]
        using = [(model, wants) for model, wants in here if wants.on_device]
        bases = sum(parts.backends[name].device_base_bytes for name in {model.backend for model, _ in using})
        rows.append(
            {
                "index": index,
                "class": device.device_class,
                "uuid": device.uuid,
                "capacityBytes": device.capacity_bytes,
                "fixedBytes": device.fixed_bytes,
                "usedBytes": device.fixed_bytes + bases + sum(wants.steady_bytes for _, wants in using),
                "usedMilli": sum(wants.device_milli for _, wants in here),
            }
        )
    return rows


def _used(residents: Sequence[_Resident], parts: Names, *, first: Mapping[str, Placed]) -> dict[str, Any]:
    extra: Counter[str] = Counter()
    for _, _, wants in residents:
        extra.update(wants.extra)
    bases = sum(parts.backends[name].host_base_bytes for name in {model.backend for _, model, _ in residents})
    return {
        "models": len(residents),
        "cpuMilli": sum(wants.cpu_milli for _, _, wants in residents),
        "memoryBytes": bases + sum(wants.memory_bytes for _, _, wants in residents),
        "diskBytes": sum(wants.disk_bytes for _, _, wants in residents),
        "modelsJsonBytes": len("[]")
        + sum(
            models_json_entry_bytes(model) for placed, model, _ in residents if first[model.name] == placed
        ),
        "extraMilli": dict(sorted(extra.items())),
    }


def _limits(plan: Plan, scenario: Scenario, parts: Names, shards: list[dict[str, Any]]) -> dict[str, Any]:
    pods = sum(parts.shard_types[shard.shard_type].replicas for shard in plan.placement.shards)
    pods += services_pods(scenario, plan.services)
    largest = max((shard["used"]["modelsJsonBytes"] for shard in shards), default=0)
    rows = {
        "ips": (pods, scenario.cluster.max_ips),
        "shards": (len(shards), scenario.policy.max_shards),
        "microUsdPerHour": (plan.cost_microusd_per_h, scenario.policy.max_usd_per_h_microusd),
        "configMapBytes": (largest, scenario.cluster.max_config_map_bytes),
    }
    return {name: {"used": used, "limit": limit} for name, (used, limit) in rows.items()}


# ------------------------------------------------------------------------------------------------ reading


def load_plan(path: Path) -> Plan:
    """Return the plan of a file.

    Raises
    ------
    InputError
        With every fault: the file is cut off, of another version, not a plan, or a field is wrong.
    """
    return parse_plan(read_text(path, file=str(path)), file=str(path))


def parse_plan(text: str, *, file: str) -> Plan:
    """Return the plan of a text; ``file`` is the name under which faults are reported.

    Raises
    ------
    InputError
        As ``load_plan``.
    """
    return plan_of(parse_plan_document(text, file=file))


def parse_plan_document(text: str, *, file: str) -> Document:
    """Return the document of a plan's text, not yet checked: see ``plan_of`` and ``check_figures``.

    Raises
    ------
    InputError
        The text is cut off or no document at all.
    """
    data = json_data(text)
    if data is not None:
        return Document(file=file, data=data, text=text)
    if text.lstrip().startswith("{"):
        try:
            json.loads(text, parse_int=_parse_int)
        except RecursionError:
            raise InputError([Fault(path="", message="is nested too deeply", file=file)]) from None
        except json.JSONDecodeError as error:
            raise InputError([json_fault(error, file=file)]) from None
    return parse_document(text, file=file)


def _parse_int(digits: str) -> int | None:
    """Leave numbers beyond all sense, which Python refuses to convert, to the check of the shape."""
    return int(digits) if len(digits) <= 40 else None


def plan_of(document: Document) -> Plan:
    """Return the plan of a document.

    Placements are read one by one, since their shapes would take more memory than they do; where something
    has a fault, the whole is read, for every fault that there is.

    Raises
    ------
    InputError
        It is of another version, not a plan, or a field is wrong; with every fault.
    """
    log = FaultLog()
    log.extend(document.faults)
    read_head(document, ("Plan",), log)
    log.raise_if_any()
    rows = document.data.get("placements")
    if isinstance(rows, list):
        with suppress(ValidationError):
            rest = PlanShape.model_validate({**document.data, "placements": []})
            return _plan(rest, [_placed(PlacementShape.model_validate(row)) for row in rows])
    shape = _read(document, log)
    return _plan(shape, map(_placed, shape.placements))


def _read(document: Document, log: FaultLog) -> PlanShape:
    try:
        return PlanShape.model_validate(document.data)
    except ValidationError as error:
        for loc, message in shape_faults(error, PlanShape):
            log.add(document, loc, message)
    log.raise_if_any()
    raise AssertionError("a plan that does not validate has faults")


def _plan(shape: PlanShape, placed: Iterable[Placed]) -> Plan:
    metadata = shape.metadata
    return Plan(
        name=metadata.name,
        namespace=metadata.namespace,
        scenario_sha256=metadata.scenario_sha256,
        seed=metadata.seed,
        budget=Budget(
            work=metadata.budget.work,
            time_limit_ms=metadata.budget.time_limit_ms,
            workers=metadata.budget.workers,
        ),
        stopped_by_clock=metadata.stopped_by_clock,
        versions=tuple(sorted(metadata.versions.items())),
        status=shape.status,
        placement=_read_placement(shape, placed),
        cost_microusd_per_h=shape.cost.usd_per_hour,
        bound=None
        if shape.bound is None
        else Bound(microusd_per_h=shape.bound.usd_per_hour, method=shape.bound.method),
        refusals=tuple(
            _sorted_refusals(
                Refusal(
                    model=item.model,
                    replicas=item.replicas,
                    rule=Rule(item.rule),
                    subject=item.subject,
                    need=item.need,
                    have=item.have,
                    proven=item.proven,
                )
                for item in shape.refusals
            )
        ),
        base_sha256=metadata.base_sha256,
        moves=None if shape.moves is None else Moves(count=shape.moves.count, at_least=shape.moves.at_least),
        services=tuple(
            sorted(
                Service(group=item.group, transformer=item.transformer, nodes=tuple(sorted(item.nodes)))
                for item in shape.services
            )
        ),
    )


def _read_placement(shape: PlanShape, placed: Iterable[Placed]) -> Placement:
    shards = [
        Shard(
            name=intern(item.name),
            shard_type=intern(item.shard_type),
            node=item.node,
            node_devices=tuple(item.node_devices),
        )
        for item in shape.shards
    ]
    return Placement(shards=tuple(sorted(shards, key=lambda shard: shard.name)), placed=tuple(sorted(placed)))


def _placed(shape: PlacementShape) -> Placed:
    """Return a placed replica; what many replicas say is kept once."""
    return Placed(
        model=intern(shape.model),
        replica=shape.replica,
        shard=intern(shape.shard),
        devices=_shared(tuple(shape.devices)),
        option=shape.option,
    )


@lru_cache(maxsize=1024)
def _shared(devices: tuple[int, ...]) -> tuple[int, ...]:
    return devices


# ---------------------------------------------------------------------------------------- derived figures


def check_figures(document: Mapping[str, Any], plan: Plan, scenario: Scenario) -> tuple[Violation, ...]:
    """Return every figure of a plan's document that does not follow from the plan and its scenario.

    Empty where names in the plan mean nothing: ``verify`` says so.
    """
    parts = names(scenario)
    if next(find_broken_references(parts, plan.placement), None) is not None:
        return ()
    if any(service.transformer not in parts.transformers for service in plan.services):
        return ()
    return tuple(
        Violation(rule=_rule_of(path), subject=path, detail=f"the file says {found}, right is {right}")
        for path, found, right in _differences(document, plan_document(plan, scenario), ())
    )


def _rule_of(path: str) -> Rule:
    if path.startswith("cost"):
        return Rule.COST
    return Rule.BOUND if path == "gapRatio" else Rule.REFERENCE


def _differences(found: Any, right: Any, loc: tuple[str | int, ...]) -> Iterator[tuple[str, str, str]]:
    if isinstance(found, Mapping) and isinstance(right, Mapping):
        for key in sorted(found.keys() | right.keys()):
            yield from _differences(found.get(key), right.get(key), (*loc, key))
    elif isinstance(found, list) and isinstance(right, list) and len(found) == len(right):
        if loc and loc[0] in _ROWS and len(loc) == 1:  # an editor may have changed the order of the rows
            found, right = sorted(found, key=_row_key), sorted(right, key=_row_key)
        for index, (one, other) in enumerate(zip(found, right, strict=True)):
            yield from _differences(one, other, (*loc, index))
    elif found != right:
        yield path_text(loc), json.dumps(found), json.dumps(right)


def _row_key(row: Mapping[str, Any]) -> tuple[str, int, str]:
    name = row.get("name", row.get("model"))
    return str(name), int(row.get("replica", 0)), str(row.get("rule", ""))

"""Checks of models against the catalogue, the fleet and each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from planner.domain.fleet import ShardType
from planner.domain.footprint import ANY_CLASS, FootprintOption
from planner.domain.model import Model
from planner.domain.references import in_group
from planner.domain.scenario import Scenario
from planner.errors import Fault
from planner.scenario.catalogue import Catalogue
from planner.scenario.documents import Document, Loc
from planner.scenario.draft import Draft, Located
from planner.scenario.faults import FaultLog, one_of


def check_models(draft: Draft, log: FaultLog) -> None:
    """Note what is wrong with the models."""
    checks = _ModelChecks(draft, log)
    for item in draft.models:
        checks.backend(item)
        checks.footprints(item)
        checks.devices(item)
        if item.value.pin is not None:
            checks.pin(item)
        if item.value.transformer is not None:
            checks.transformer(item, item.value.transformer)
    if draft.sound:
        _together(draft, log)


def faults_of_model(model: Model, scenario: Scenario) -> tuple[Fault, ...]:
    """Return what would be wrong with a scenario if one more model were in it; places are the model's own.

    Parameters
    ----------
    model
        It need not come from a document.
    scenario
        What the model may refer to; its own models are not looked at.
    """
    document, log = Document(file="", data={}, text="{}"), FaultLog()
    catalogue = Catalogue(
        device_classes={item.name: item for item in scenario.device_classes},
        backends={item.name: item for item in scenario.backends},
    )
    draft = Draft(
        name=scenario.name,
        namespace=scenario.namespace,
        main=document,
        catalogue=catalogue,
        policy=scenario.policy,
        policy_document=document,
        shard_types=[Located(item, document, ()) for item in scenario.shard_types],
        transformers=[Located(item, document, ()) for item in scenario.transformers],
        models=[Located(model, document, ())],
    )
    check_models(draft, log)
    return log.sorted()


class _ModelChecks:
    """What is the same for every model is looked up once: there may be millions."""

    def __init__(self, draft: Draft, log: FaultLog) -> None:
        self.log = log
        self.backends = draft.catalogue.backends.keys() | draft.assumed.get("backends", set())
        self.kinds = {name: item.kind for name, item in draft.catalogue.device_classes.items()}
        self.classes = self.kinds.keys() | draft.assumed.get("deviceClasses", set()) | {ANY_CLASS}
        self.types = [item.value for item in draft.shard_types]
        self.fleet_known = draft.sound
        self.most_devices = max((item.device_count for item in self.types), default=0)
        self.transformers = {located.value.name for located in draft.transformers}
        self.transformers |= draft.assumed.get("transformers", set())
        self._reported: set[tuple[int, Loc, str]] = set()

    def _add(self, item: Located[Model], loc: Loc, message: str) -> None:
        """Note a fault once for all the models that share a place."""
        key = (id(item.document), loc, message)
        if key not in self._reported:
            self._reported.add(key)
            self.log.add(item.document, loc, message)

    def backend(self, item: Located[Model]) -> None:
        if item.value.backend not in self.backends:
            message = one_of("backend", item.value.backend, self.backends)
            self._add(item, (*item.loc, "backend"), message)

    def footprints(self, item: Located[Model]) -> None:
        options = item.value.footprints
        for index, option in enumerate(options):
            loc = (*item.loc, "footprints", index)
            if option.device_class not in self.classes:
                self._add(item, (*loc, "class"), one_of("device class", option.device_class, self.classes))
            if self.kinds.get(option.device_class) == "cpu":
                self._no_gpu_figures(item, option, loc)
        if len(options) > 1:
            self._doubled_options(item)

    def _no_gpu_figures(self, item: Located[Model], option: FootprintOption, loc: Loc) -> None:
        if option.steady_bytes.p95 or option.load_peak_bytes.p95 or option.residual_bytes.p95:
            message = f"{option.device_class!r} is a CPU: it has no GPU memory"
            self._add(item, (*loc, "gpuMemory"), message)
        if option.device_milli.p95:
            message = f"{option.device_class!r} is a CPU: give the time under cpu"
            self._add(item, (*loc, "gpuTime"), message)

    def _doubled_options(self, item: Located[Model]) -> None:
        seen: set[tuple[str, int, int]] = set()
        for index, option in enumerate(item.value.footprints):
            key = (option.device_class, option.batch, option.instances)
            if key in seen:
                message = f"a second footprint for class {key[0]}, batch {key[1]}, instances {key[2]}"
                self._add(item, (*item.loc, "footprints", index), message)
            seen.add(key)

    def devices(self, item: Located[Model]) -> None:
        wanted = item.value.devices_per_replica
        if self.fleet_known and self.types and wanted > self.most_devices:
            message = f"{wanted} devices, but no shard type has more than {self.most_devices}"
            self._add(item, (*item.loc, "devicesPerReplica"), message)

    def transformer(self, item: Located[Model], name: str) -> None:
        if name not in self.transformers:
            self._add(item, (*item.loc, "transformer"), one_of("transformer", name, self.transformers))

    def pin(self, item: Located[Model]) -> None:
        pin = item.value.pin
        if pin is None or not self.fleet_known:
            return
        possible = [shard_type for shard_type in self.types if in_group(pin.shard, shard_type.group)]
        if not possible:
            groups = {shard_type.group for shard_type in self.types}
            message = one_of("group with a shard called", pin.shard, groups)
            self._add(item, (*item.loc, "pin", "shard"), message)
        elif pin.device is not None and pin.device >= _most_devices(possible):
            message = f"shards of that group have devices 0 to {_most_devices(possible) - 1}"
            self._add(item, (*item.loc, "pin", "device"), message)


def _most_devices(shard_types: Iterable[ShardType]) -> int:
    return max(shard_type.device_count for shard_type in shard_types)


def _together(draft: Draft, log: FaultLog) -> None:
    """Models that share a shard replica by replica need equal replicas, pins and, if isolated, tenants."""
    keys: dict[str, list[Located[Model]]] = defaultdict(list)
    for item in draft.models:
        if item.value.together is not None:
            keys[item.value.together].append(item)
    for key, members in keys.items():
        first = members[0].value
        pins = {item.value.pin.shard for item in members if item.value.pin is not None}
        for item in members:
            model = item.value
            if model.replicas != first.replicas:
                message = (
                    f"models together as {key!r} need equal replicas:"
                    f" {model.replicas} here, {first.replicas} of {first.name!r}"
                )
                log.add(item.document, (*item.loc, "replicas"), message)
            if draft.policy.isolate_tenants and model.tenant != first.tenant:
                message = (
                    f"{first.name!r} is together with it as {key!r} but belongs to another tenant,"
                    " and tenants are isolated"
                )
                log.add(item.document, (*item.loc, "tenant"), message)
            if model.pin is not None and len(pins) > 1:
                message = f"models together as {key!r} are pinned to {' and '.join(sorted(pins))}"
                log.add(item.document, (*item.loc, "pin", "shard"), message)

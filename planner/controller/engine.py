"""The controller without thread, socket or clock: what is seen goes in, what is to be written comes out.

Nothing is assumed of a write until its answer, or the watch, shows the object: a step hands out what may be
written as things stand, and the next one what may follow. So servers exist before documents, documents before
a TrainedModel names their shard, and whatever was not written, or was refused, is decided again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from planner.controller.assigning import Assigner
from planner.controller.closing import Closer
from planner.controller.fleet import is_fleet
from planner.controller.fleets import Fleets
from planner.controller.hearing import Hearing, States
from planner.controller.in_force import is_in_force
from planner.controller.keeping import Keeper
from planner.controller.living import LivingPlan
from planner.controller.mentions import Mentions
from planner.controller.moving import Mover
from planner.controller.naming import letting_go, naming
from planner.controller.objects import Style, is_document_of
from planner.controller.pace import Pace, Postponed
from planner.controller.publishing import Publisher, shard_of_config_map, shard_of_models_json
from planner.controller.renewing import Renewer
from planner.controller.routing import Front, Router
from planner.controller.scene import Scene
from planner.controller.telling import Teller
from planner.controller.views import (
    ConfigMapView,
    ModelView,
    Object,
    PodView,
    is_ours,
    read_shard,
)
from planner.controller.wishes import said_in
from planner.controller.world import Change, World
from planner.controller.writes import Told, Write
from planner.manifests.deployment import predictor_name
from planner.manifests.names import LABEL_SHARD

Miss = Literal["conflict", "gone", "failed"]
"""Why a write was not done: somebody was faster, the object is not there, or the server did not do it."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
"""Between tries of a write that fails; doubled each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What may be done as things stand.

    Parameters
    ----------
    writes
        In any order, together; at most one an object.
    told
        Events of what was decided.
    wake
        When to step again if nothing happens; None is never.
    """

    writes: tuple[Write, ...]
    told: tuple[Told, ...]
    wake: float | None


class Engine:
    """Decides what is to be written.

    Parameters
    ----------
    namespace
        Whose TrainedModels are assigned.
    style, pace
        How objects are written, and when.
    timed
        Takes the seconds of every decision about a model.
    """

    def __init__(
        self,
        namespace: str,
        *,
        style: Style | None = None,
        pace: Pace | None = None,
        timed: Callable[[float], None] | None = None,
    ) -> None:
        pace, style = pace or Pace(), style or Style()
        self.scene = Scene(
            style=style,
            pace=pace,
            world=World(),
            fleets=Fleets(namespace, style.mode),
            hearing=Hearing(),
            postponed=Postponed(pace),
        )
        if timed is not None:
            self.scene.timed = timed
        self._assigner = Assigner(self.scene)
        self._publisher = Publisher(self.scene)
        self._keeper = Keeper(self.scene, self._publisher)
        self._teller = Teller(self.scene, self._assigner)
        self._router = Router(self.scene)
        self._refleet = True
        self._mover = Mover(self.scene, self._router, self._teller)
        self._closer = Closer(self.scene, self._publisher, self._router)
        self._renewer = Renewer(self.scene, self._publisher)
        self._mentions = Mentions(self.scene.world, self.scene.fleets)
        self._held: set[str] = set()
        self._waits: dict[tuple[str, str], tuple[float, float]] = {}

    # ------------------------------------------------------------------------------------------ what is seen

    def see(self, kind: str, item: Object, now: float) -> None:
        """Take an object as it is now."""
        change = self.scene.world.see(kind, item)
        if change is not None:
            self._note(change, now)

    def lose(self, kind: str, name: str, uid: str, now: float) -> None:
        """Take note that an object is gone."""
        change = self.scene.world.lose(kind, name, uid)
        if change is not None:
            self._note(change, now)

    def replace(self, kind: str, items: Iterable[Object], now: float) -> None:
        """Take all objects of a kind, as a list told them."""
        for change in self.scene.world.replace(kind, items):
            self._note(change, now)

    def hear(self, pod: str, states: States) -> None:
        """Take what a pod's agent tells of its models."""
        view = self.scene.world.pods.get(pod)
        if view is not None and view.address is not None:
            self._heard(view, self.scene.hearing.hear(view, states))

    def hear_gateway(self, pod: str, front: Front) -> None:
        """Take what a gateway's pod tells of its routes."""
        view = self.scene.world.pods.get(pod)
        if view is not None and view.address is not None:
            self._router.hear(view, front)

    @property
    def pods(self) -> Mapping[str, PodView]:
        """Return the pods that may be asked."""
        return self.scene.world.pods

    @property
    def decided(self) -> Counter[str]:
        """Return how many decisions had which outcome."""
        return self.scene.decided

    @property
    def refused(self) -> int:
        """Return how many models have no place, or not for all of their replicas."""
        return len(self._assigner.refused)

    @property
    def outdated(self) -> int:
        """Return how many servers would be opened with another template today."""
        return len(self._renewer.outdated)

    def refusal(self, name: str) -> str | None:
        """Return why a model has no place for all that it asks for; None where it has."""
        found = self._assigner.refused.get(name)
        return None if found is None else found.sentence

    @property
    def plans(self) -> Iterable[LivingPlan]:
        """Return the living plans."""
        return self.scene.fleets.plans.values()

    def is_busy(self, pod: PodView) -> bool:
        """Return whether a pod is soon to say something new: a load, or routes, are on their way there."""
        if pod.gateway is not None:
            return not self._router.follows(pod.gateway)
        return self._is_loading(pod.shard)

    def _is_loading(self, shard: str) -> bool:
        plan = self.scene.fleets.with_shard(shard)
        if plan is None:
            return False
        state = self.scene.hearing.copy_state
        return any(state(copy.placed.model, shard).state != "Loaded" for copy in plan.on(shard))

    # -------------------------------------------------------------------------------------------- what to do

    def step(self, now: float, stamp: str) -> Step:
        """Decide what is open, and return what may be written.

        Parameters
        ----------
        now
            Seconds on any clock that does not go back.
        stamp
            The time as conditions say it.
        """
        scene = self.scene
        if self._refleet:
            self._reload(now)
        if scene.fleets.plans:
            self._assigner.settle_all(now)
            self._advance_moves(now)
            if self._closer.look(now):
                self._assigner.look_again()
            over = scene.fleets.finish(scene.world, fronted=self._router.is_asked_for)
            scene.told += over
            self._refleet |= bool(over)  # somebody may wait for a name
        writes = tuple(islice(self._possible(now, stamp), scene.pace.at_once))
        told, scene.told = tuple(scene.told), []
        return Step(writes=writes, told=told, wake=self._wake(now, full=len(writes) == scene.pace.at_once))

    def wrote(self, write: Write, item: Object | None, now: float) -> None:
        """Take the answer to a write: the object as it is now, None if it is gone."""
        self._waits.pop(write.target, None)
        world = self.scene.world
        change = world.lose(write.kind, write.name) if item is None else world.see(write.kind, item)
        if change is not None and write.kind != "ConfigMap":
            self._note(change, now)
        elif change is not None:
            self.scene.unnamed |= self._held
        if write.verb == "rewrite" and item is not None:
            self._renewer.wrote(read_shard(item))

    def missed(self, write: Write, why: Miss, item: Object | None, now: float) -> None:
        """Take note that a write was not done.

        Parameters
        ----------
        write, why
            What, and why.
        item
            The object as it is now, where that is known.
        """
        # A server that starts says 404 of every kind that a definition brings: only its watch tells that a
        # model is gone, which is then unloaded.
        is_doubtful = why == "gone" and write.kind == "TrainedModel"
        if item is not None:
            self.see(write.kind, item, now)
        elif why == "gone" and not is_doubtful:
            self.lose(write.kind, write.name, "", now)
        if why == "failed" or is_doubtful or (why == "conflict" and item is None):
            wait = min(2 * self._waits.get(write.target, (0.0, _FIRST_WAIT_S / 2))[1], _LONGEST_WAIT_S)
            self._waits[write.target] = (now + wait, wait)
            self._rest(write, now + wait)

    # ---------------------------------------------------------------------------------------------- inside

    def _rest(self, write: Write, until: float) -> None:
        """Look at a shard, or at a group's routes, no sooner than something of them can be written again."""
        if write.kind == "ConfigMap":
            self.scene.postponed.rest(shard_of_config_map(write.name), until)
        self._router.rest(write.name, until)

    def _possible(self, now: float, stamp: str) -> Iterator[Write]:
        """Yield what may be written; one write an object, and none that has to wait after a failure.

        What is in force goes first, where it can be written: the keeper knows what has to wait for it.
        """

        def is_due(write: Write) -> bool:
            return self._waits.get(write.target, (now, 0.0))[0] <= now

        seen: set[tuple[str, str]] = set()
        first = self._keeper.writes(is_due)
        sources = (
            self._publisher.writes(now),
            self._names(),
            self._router.writes(now),
            self._closer.writes(),
            self._teller.writes(now, stamp),
            self._renewer.writes(now),
        )
        for source in (first,) if first else sources:
            for write in source:
                if write.target not in seen and is_due(write) and not self._keeper.is_early(write):
                    seen.add(write.target)
                    yield write

    def _names(self) -> Iterator[Write]:
        """Yield what TrainedModels should say of their places, once documents say it and servers run."""
        scene = self.scene
        for name in sorted(scene.unnamed):
            view = scene.world.models.get(name)
            if scene.is_blocked(name):
                continue
            write = None if view is None else self._name(view)
            if view is None or write is None:
                scene.unnamed.discard(name)
            elif self._leads_somewhere(write, view):
                yield write

    def _leads_somewhere(self, write: Write, view: ModelView) -> bool:
        """Return whether a TrainedModel's parent is there: KServe's controller deletes it otherwise."""
        spec = write.body.get("spec")
        if spec is None:
            return self.scene.may_be_written(view)
        return self._publisher.has_server(spec["inferenceService"])

    def _name(self, view: ModelView) -> Write | None:
        scene = self.scene
        holder = scene.fleets.holding(view.name)
        if view.deleting:
            return self._let_go(view) if holder is None and scene.style.mode == "standalone" else None
        if holder is None:
            return None
        plan, group = holder
        leaving = {copy.placed.shard for copy in plan.copies(view.name) if copy.leaving}
        if leaving:
            self._mover.note(view.name)
        moving = view.parent in leaving and not self._mover.is_loaded(view.name)
        stays = moving or self._is_served_elsewhere(view)
        return naming(view, plan, group, style=scene.style, stays=stays)

    def _is_served_elsewhere(self, view: ModelView) -> bool:
        """Return whether a server that is not ours answers for a model until its copies here are loaded."""
        if not self._publisher.is_theirs(view.parent):
            return False
        life = self._teller.life(view)
        return life is None or not life.all_loaded

    def _let_go(self, view: ModelView) -> Write | None:
        """Return what lets a TrainedModel be gone; None while a placement document names it."""
        told = self._mentions.of(view.name)
        if told is None:
            self._held.discard(view.name)
            return letting_go(view)
        if view.name not in self._held:
            self._held.add(view.name)
            if not self.scene.fleets.with_shard(told):
                self.scene.told.append(_waits(view, told))
        return None

    def _advance_moves(self, now: float) -> None:
        gone = self._mover.advance(now, is_named=lambda view: self._name(view) is None)
        if gone:
            self._publisher.stale |= gone
            self._assigner.look_again()

    def _reload(self, now: float) -> None:
        self._refleet = False
        scene = self.scene
        fresh, told = scene.fleets.reload(scene.world)
        scene.told += told
        for plan in fresh:
            for shard in plan.shards:
                scene.postponed.add(shard, now - scene.pace.quiet_s)
            scene.unserved |= plan.shards.keys()
            scene.unjudged |= plan.shards.keys()
            scene.unfronted = True
        if fresh:
            self._renewer.forget_templates()
            scene.unsettled |= scene.world.models.keys()

    def _heard(self, pod: PodView, names: Collection[str]) -> None:
        models, theirs = self.scene.world.models, self._publisher.is_theirs
        self.scene.untold |= set(names)
        self.scene.unnamed |= {name for name in names if name in models and theirs(models[name].parent)}
        if names:
            self.scene.touched.add(pod.shard)

    def _wake(self, now: float, *, full: bool) -> float | None:
        if full:
            return now
        times = (
            now if self._refleet else None,
            self.scene.postponed.next(),
            self._assigner.next(),
            self._teller.next(),
            self._router.next(),
            self._closer.next(),
            self._renewer.next(),
            *(until for until, _ in self._waits.values() if until > now),
            *self._mover.times(now),
        )
        later = [time for time in times if time is not None]
        return min(later, default=None)

    # --------------------------------------------------------------------------------------------- changes

    def _note(self, change: Change, now: float) -> None:
        match change.kind:
            case "TrainedModel":
                self._note_model(change)
            case "ConfigMap":
                self._note_config_map(change, now)
            case "InferenceService" | "Deployment" | "Service" | "PodDisruptionBudget":
                self._note_server(change, now)
            case "Pod":
                self._note_transformer(change)
                if change.before is not None and (change.after is None or change.after.address is None):
                    self._heard(change.before, self.scene.hearing.forget(change.before))
                    self._router.forget(change.before)
            case _:
                if change.before is None or change.after is None or change.before.open != change.after.open:
                    self._assigner.look_again()

    def _note_server(self, change: Change, now: float) -> None:
        view = change.after or change.before
        shard = view.labels.get(LABEL_SHARD)
        if change.before is None or change.after is None or change.after.deleting:
            self.scene.unserved |= {shard or view.name, view.name.removesuffix(predictor_name(""))}
            self.scene.unfronted = True
        if shard is not None:
            self.scene.unjudged.add(shard)
        if shard in self.scene.postponed:
            self.scene.postponed.rest(shard, now)
        if change.kind == "InferenceService" and not is_ours(view.labels):
            models = self.scene.world.models.values()
            self.scene.unnamed |= {model.name for model in models if model.parent == view.name}

    def _note_transformer(self, change: Change) -> None:
        """Look at the statuses of models whose transformer has a pod that begins or ceases to answer."""
        before, after = (view is not None and view.serves for view in (change.before, change.after))
        key = (change.after or change.before).transformer
        if key is None or before == after:
            return
        for plan in self.scene.fleets.plans.values():
            if key[0] in plan.fleet.groups:
                through = plan.models_of(key[0])
                self.scene.untold |= {name for name in through if plan.transformer_of(name) == key[1]}

    def _note_model(self, change: Change) -> None:
        name, scene = change.name, self.scene
        if self._asks(change.before) != self._asks(change.after):
            scene.unsettled.add(name)
        scene.unnamed.add(name)
        scene.untold.add(name)
        if change.after is None:
            self._waits.pop(("TrainedModel", name), None)
        if scene.style.mode == "kserve":
            before = change.before.parent if change.before else ""
            self._publisher.stale |= {before} if before else set()

    def _asks(self, view: ModelView | None) -> object:
        """Return what of a TrainedModel decides where it goes; of its parent only the group counts."""
        if view is None:
            return None
        found = self.scene.fleets.find(view)
        group = None if found is None else (found[0].fleet.source, found[1])
        return view.deleting, group, said_in(view), view.storage_uri, view.framework, view.memory

    def _note_config_map(self, change: Change, now: float) -> None:
        view: ConfigMapView = change.after or change.before
        self.scene.unnamed |= self._held
        if is_fleet(view) or (change.before is not None and is_fleet(change.before)):
            self._refleet = True
            return
        if is_in_force(view):
            return
        shard = view.labels.get(LABEL_SHARD)
        if shard is not None and (is_document_of(view, shard) or self.scene.style.mode == "standalone"):
            self.scene.postponed.add(shard, now)
        elif (theirs := shard_of_models_json(view.name)) is not None:
            self._publisher.stale.add(theirs)


def _waits(view: ModelView, shard: str) -> Told:
    """Return the event of a TrainedModel that cannot be let go yet."""
    return Told(
        kind="TrainedModel",
        name=view.name,
        uid=view.uid,
        level="Warning",
        reason="StillServed",
        message=f"shard {shard} serves it, and its fleet document is not taken: it goes as soon as that is",
    )

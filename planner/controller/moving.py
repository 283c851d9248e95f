"""Moves under way: both copies answer, then the new ones alone, and then the old ones go."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from planner.controller.living import Copy, LivingPlan
from planner.controller.routing import Router
from planner.controller.scene import Scene
from planner.controller.settling import release
from planner.controller.telling import Teller
from planner.controller.views import ModelView

_LOOK_S = 0.25
"""Between looks at a move that waits for gateways, or for pods to be ready."""


class Mover:
    """Brings moves to their end.

    When all copies that stay are loaded, the TrainedModel's parent changes and the routes name both: a
    gateway that cannot reach a new copy yet asks the old one. When that has lasted a while, every gateway
    goes by it and a pod of each new copy's shard is ready, the routes leave the old copies out; and when
    every gateway goes by that, and has no request on its way there, the old copies go.

    Parameters
    ----------
    scene
        What is shared; ``handed`` are the models whose routes leave out the copies on their way out.
    router, teller
        Know which routes gateways go by, and how far copies are.
    """

    def __init__(self, scene: Scene, router: Router, teller: Teller) -> None:
        self._scene, self._router, self._teller = scene, router, teller
        self._moving: set[str] = set()
        self._since: dict[str, float] = {}

    def note(self, name: str) -> None:
        """Take note that a model has copies on their way out."""
        self._moving.add(name)

    def is_loaded(self, name: str) -> bool:
        """Return whether the copies that stay of a model that moves are all loaded."""
        return name in self._since

    def times(self, now: float) -> Iterator[float]:
        """Yield when moves may go on: after the wait, and then as soon as gateways and pods say so."""
        for since in self._since.values():
            yield max(since + self._scene.pace.switch_s, now + _LOOK_S)

    def advance(self, now: float, *, is_named: Callable[[ModelView], bool]) -> frozenset[str]:
        """Bring every move as far as it may go; returns the shards that old copies have gone from.

        Parameters
        ----------
        now
            The time.
        is_named
            Whether a TrainedModel says what it should.
        """
        scene = self._scene
        gone: set[str] = set()
        for name in sorted(self._moving):
            view, holder = scene.world.models.get(name), scene.fleets.holding(name)
            copies = holder[0].copies(name) if holder else ()
            if view is None or holder is None or not any(copy.leaving for copy in copies):
                self._moving.discard(name)
                self._begin_anew(name)
                continue
            life = self._teller.life(view)
            if life is None or not life.all_loaded:
                self._begin_anew(name)  # asked for something else meanwhile, or a pod is gone
            elif not scene.is_blocked(name):
                since = self._since.setdefault(name, now)
                scene.unnamed.add(name)
                if since + scene.pace.switch_s <= now and is_named(view):
                    gone |= self._go_on(name, *holder, copies, now)
        return frozenset(gone)

    def _begin_anew(self, name: str) -> None:
        self._since.pop(name, None)
        self._scene.handed.discard(name)

    def _go_on(
        self, name: str, plan: LivingPlan, group: str, copies: tuple[Copy, ...], now: float
    ) -> frozenset[str]:
        scene = self._scene
        if not self._router.follows(group) or not self._is_reached(copies):
            return frozenset()
        shards = [copy.placed.shard for copy in copies if copy.leaving]
        if self._router.is_asked_for and name not in scene.handed:
            scene.handed.add(name)
            scene.touched |= set(shards)
            return frozenset()
        gone = release(plan, name, shards)
        scene.touch(gone, name, now)
        scene.untold.add(name)
        scene.decided["moved"] += 1
        return gone

    def _is_reached(self, copies: tuple[Copy, ...]) -> bool:
        """Return whether the Service of every shard with a copy that stays leads to some pod."""
        ready = {pod.shard for pod in self._scene.world.pods.values() if pod.ready and not pod.deleting}
        return all(copy.placed.shard in ready for copy in copies if not copy.leaving)

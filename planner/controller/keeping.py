"""What is in force of fleet documents goes into the cluster before what it brings about.

Which document has a group, and what a group is that its document has dropped, is nowhere else once a document
was changed or deleted. So some kept text has to know the group of whatever is there, whoever starts anew: a
text is kept before anything is created for a new group or shard, and before those of documents that gave a
group up to it are written over. What is there already is in an earlier text, and goes on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from planner.controller.in_force import in_force_map, in_force_name, is_in_force
from planner.controller.objects import config_map_writes, is_document_of
from planner.controller.publishing import Publisher
from planner.controller.scene import Scene
from planner.controller.views import ANNOTATION_FLEET
from planner.controller.writes import Write, delete
from planner.manifests.names import LABEL_GROUP, LABEL_SHARD
from planner.manifests.routes import shard_service_name


class Keeper:
    """Keeps what is in force, and says what has to wait for it.

    Parameters
    ----------
    scene
        What is shared.
    publisher
        Knows servers.
    """

    def __init__(self, scene: Scene, publisher: Publisher) -> None:
        self._scene, self._publisher = scene, publisher
        self._late: set[str] = set()
        self._told: set[str] = set()

    def writes(self, is_due: Callable[[Write], bool]) -> list[Write]:
        """Return what is to be written before all else; where nothing can be, it is told what that holds up.

        Nothing is written over that is somebody else's, or that could not be read: it may say more.
        """
        fleets, known = self._scene.fleets, self._scene.world.config_maps
        lacking = {
            source: found
            for source, plan in fleets.plans.items()
            if (found := list(config_map_writes((in_force_map(plan.fleet),), known, stale=())))
        }
        self._late = set(lacking)
        self._told &= self._late
        fleets.given &= self._late
        fleets.unread -= fleets.plans.keys() - self._late
        turn = self._late - fleets.given or self._late
        free = (source for source in lacking if source in turn and self._obstacle(source) is None)
        found = [write for source in free for write in lacking[source]]
        due = [write for write in found or self._deletions() if is_due(write)]
        if not due:
            self._tell()
        return due

    def is_early(self, write: Write) -> bool:
        """Return whether an object must not be created yet: no kept text knows what it is of."""
        if write.verb != "create" or not self._late:
            return False
        labels = write.body["metadata"]["labels"]
        shard = labels.get(LABEL_SHARD, write.name.removesuffix(shard_service_name("")))
        for plan in (self._scene.fleets.plans[source] for source in self._late):
            if shard in plan.shards:
                return not self._is_there(shard)
            if labels.get(LABEL_GROUP) in plan.fleet.groups:
                return not any(self._is_there(item.name) for item in plan.shards_of(labels[LABEL_GROUP]))
        return False

    # ---------------------------------------------------------------------------------------------- inside

    def _deletions(self) -> Iterator[Write]:
        """Yield the deletion of what is kept of documents that have ended, once all else is kept.

        Of others nothing is deleted: they may only have been unreadable.
        """
        ended = self._scene.fleets.gone - self._scene.fleets.unread if not self._late else ()
        for view in self._scene.world.config_maps.values() if ended else ():
            if is_in_force(view) and view.annotations[ANNOTATION_FLEET] in ended:
                yield delete("ConfigMap", view.name, uid=view.uid, resource_version=view.resource_version)

    def _is_there(self, shard: str) -> bool:
        maps = self._scene.world.maps_of(shard)
        return self._publisher.server(shard) is not None or any(is_document_of(one, shard) for one in maps)

    def _obstacle(self, source: str) -> str | None:
        """Return why what is in force of a document is not to be written over what is there."""
        view = self._scene.world.config_maps.get(in_force_name(source))
        if view is None:
            return None
        if not is_in_force(view):
            return "is somebody else's; delete it, or call the document otherwise"
        if source in self._scene.fleets.unread:
            return "has faults; delete it to go on without what it says of released groups"
        return None

    def _tell(self) -> None:
        for source in sorted(self._late - self._told):
            self._told.add(source)
            why = self._obstacle(source) or "cannot be written, and is tried again"
            message = f"nothing new is opened until what is in force is kept: {in_force_name(source)} {why}"
            self._scene.tell_of(source, "NotKept", message, level="Warning")

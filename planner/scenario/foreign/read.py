"""One entrance for all kinds of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO, Literal, get_args

from planner.errors import Fault, InputError
from planner.scenario.foreign.collect import Collector, Given, Imported
from planner.scenario.foreign.kserve import read_kserve
from planner.scenario.foreign.model_list import read_model_lists
from planner.scenario.foreign.seldon import read_seldon
from planner.scenario.foreign.triton_repository import read_repositories
from planner.scenario.kubernetes_objects import read_objects

Kind = Literal["kserve", "modelmesh", "seldon", "triton", "michelangelo"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def read_foreign(
    kind: Kind, paths: Sequence[str], *, given: Given | None = None, stdin: BinaryIO | None = None
) -> Imported:
    """Return the models of another system's files.

    Parameters
    ----------
    kind
        Whose files they are.
    paths
        Files and folders; ``-`` is ``stdin``, but for Triton repositories.
    given
        What the caller says where the files say nothing.
    stdin
        An open stream; None where it is closed.

    Raises
    ------
    InputError
        With every fault of every file; or there is nothing in them to import.
    """
    collector = Collector(given or Given())
    match kind:
        case "triton":
            read_repositories(paths, collector)
        case "michelangelo":
            read_model_lists(paths, collector, stdin=stdin)
        case "seldon":
            read_seldon(read_objects(paths, stdin=stdin, log=collector.log), collector)
        case "kserve" | "modelmesh":
            objects = read_objects(paths, stdin=stdin, log=collector.log)
            read_kserve(objects, collector, mesh_only=kind == "modelmesh")
    found = collector.finish()
    if not (found.models or found.shard_types):
        file = ", ".join("<stdin>" if path == "-" else path for path in paths)
        message = f"holds no model and no shard type of {kind}"
        raise InputError([*found.notes, Fault(path="", file=file, message=message)])
    return found

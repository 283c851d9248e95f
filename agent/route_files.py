"""What the proxy answers for each model, as files: nginx looks for a model's file at every request.

A map in nginx's configuration would ask for a reload whenever a model comes or goes, and each reload leaves a
worker behind until its longest request has ended, and closes kept connections. A file is there for the next
request, and for no request under way is anything changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from agent.desired import MODEL_NAME

Route = Literal["serves", "waits"]
Rest = Literal["waits", "absent"]
"""What requests meet for a model without a route."""

REST_WAITS = "rest-waits"
"""The name of the file that says so."""
_MODE = 0o755  # nginx's workers are nobody where the agent is root


class RouteFiles:
    """One empty file a model, in the folder of its route; and one where all other models wait.

    Parameters
    ----------
    folder
        Of the proxy; it is there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Route] | None = None

    def put(self, routes: Mapping[str, Route], rest: Rest) -> None:
        """Have these routes hold, whatever held before; first those end that end, then others begin.

        Where one cannot be written the others are, but none is taken from the models that still wait with
        the rest.

        Raises
        ------
        OSError
            The first that could not be written, and why; the next call looks at what is there.
        """
        # A document can ask for no other names, and a server may tell of any.
        wanted = {name: route for name, route in routes.items() if MODEL_NAME.fullmatch(name)}
        known = self._listed() if self._known is None else self._known
        self._known = None
        changed = {name for name, _ in wanted.items() ^ known.items()}
        fault: OSError | None = None
        for name in sorted(changed, key=lambda name: (wanted.get(name) == "serves", name)):
            try:
                self._put(name, known.get(name), wanted.get(name))
            except OSError as error:
                fault = fault or error
        if fault is not None:
            raise fault
        path = self._folder / REST_WAITS
        if rest == "waits":
            path.touch()
        else:
            path.unlink(missing_ok=True)
        self._known = wanted

    def _listed(self) -> dict[str, Route]:
        """Return the routes that are there, of an earlier agent perhaps."""
        found: dict[str, Route] = {}
        self._folder.chmod(_MODE)
        for route in get_args(Route):
            folder = self._folder / route
            folder.mkdir(exist_ok=True)
            folder.chmod(_MODE)
            found.update((path.name, route) for path in folder.iterdir())
        return found

    def _put(self, name: str, known: Route | None, wanted: Route | None) -> None:
        if known is not None and wanted is not None:  # in one step: nginx never finds it in neither
            (self._folder / known / name).rename(self._folder / wanted / name)
        elif wanted is not None:
            (self._folder / wanted / name).touch()
        else:
            (self._folder / str(known) / name).unlink(missing_ok=True)

"""The loop that keeps a gateway's nginx told: documents and addresses in, configuration out."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.desired import DocumentError
from agent.documents import read_texts
from agent.errors import SettingsError
from agent.gateway.addresses import AddressBook, missing
from agent.gateway.configuration import (
    DIRECT_SOCKET,
    GENERATION_PATH,
    HEALTH_PATH,
    SOCKET,
    Addresses,
    Place,
    door_text,
    switch_text,
)
from agent.gateway.nginx import Nginx, ask_port, ask_socket, wait_for
from agent.routes import Routes, read_routes

log = logging.getLogger(__name__)

_LONGEST_SOCKET = 100  # of the 108 bytes that Linux gives the path of a unix socket
_NOTHING = Routes(group="none", shards=(), models=())
_START_S = 10.0
_TOLD_S = 10.0
_STILL_S = 60.0  # a loop that has not turned for so long hangs
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, and where it answers


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayState:
    """What a gateway says of itself.

    Parameters
    ----------
    group
        Whose models it routes; None before the first routes.
    generation
        Of the documents that it wants to route by; None before the first.
    observed_generation
        Of those that every new request is routed by; None before the first.
    models
        How many it routes.
    absent
        Shards whose name stands for nothing.
    draining
        Workers that end requests which began under former routes: while there are any, those may still
        reach a shard that the routes do not name any more.
    reloads, failures
        How often the switch was reloaded, and how often that did not take effect.
    fault
        Why the documents that are mounted are not obeyed; None when they are.
    """

    group: str | None = None
    generation: str | None = None
    observed_generation: str | None = None
    models: int = 0
    absent: tuple[str, ...] = ()
    draining: int = 0
    reloads: int = 0
    failures: int = 0
    fault: str | None = None


class Gateway:
    """Both nginx processes and who tells them.

    Parameters
    ----------
    config_dir
        Where the documents are mounted.
    place
        Where it listens and works.
    turn_s
        Seconds between two looks, and the least between two reloads.
    book
        Who knows addresses.
    """

    def __init__(
        self, config_dir: Path, place: Place, *, turn_s: float = 1.0, book: AddressBook | None = None
    ) -> None:
        self._config_dir, self._place, self._turn_s = config_dir, place, turn_s
        self._folder = Path(place.folder)
        self._socket = self._folder / SOCKET
        self._book = book or AddressBook()
        self._door, self._switch = Nginx("door", self._folder), Nginx("switch", self._folder)
        self._routes: Routes | None = None
        self._texts: Mapping[str, str] | None = None
        self._told: tuple[Routes | None, Addresses] | None = None
        self._state = GatewayState()
        self._taken: tuple[Routes, Addresses] = (_NOTHING, {})
        self._refusal: str | None = None
        self._turned_s = time.monotonic()
        self._token = f"shardpack-{secrets.token_hex(8)}"
        self._hint = threading.Event()
        self._started = self._ended = False

    def hint(self) -> None:
        """Look now: something may have changed."""
        self._hint.set()

    def stop(self) -> None:
        """Let ``run`` end; a signal's handler may call this, for it takes no lock."""
        self._ended = True

    def run(self, *, leave_s: float = 0.0, most_s: float = 25.0) -> None:
        """Start both, keep the switch told until ``stop``, then end them without dropping a request.

        Parameters
        ----------
        leave_s
            Seconds between ``stop`` and the end: readiness is gone, and who balances load looks elsewhere.
        most_s
            Seconds that the requests under way may then take.

        Raises
        ------
        SettingsError
            nginx cannot run here.
        """
        self._start()
        self._started = True
        try:
            while not self._ended:
                try:
                    self._turn()
                except Exception:  # a full disk, or a fault of ours: the next turn tries again
                    log.exception("the gateway could not be told")
                    self._told = None
                self._turned_s = time.monotonic()
                time.sleep(self._turn_s / 2)  # changes that come together are one reload
                self._hint.wait(self._turn_s / 2)
                self._hint.clear()
            time.sleep(leave_s)
        finally:
            self._door.stop(most_s)
            self._switch.stop(most_s)

    # ------------------------------------------------------------------------------------------- what it says

    def state(self) -> GatewayState:
        """Return what it says of itself now."""
        return self._state

    def readiness(self) -> tuple[bool, str]:
        """Return whether clients may be sent here, and a sentence about it."""
        if self._ended:
            return False, "it is ending"
        if not self._started or self._state.observed_generation is None:
            return False, self._state.fault or "no routes yet"
        if not self._answers(HEALTH_PATH):
            return False, "nginx does not answer"
        return True, "ok"

    def alive(self) -> bool:
        """Whether the loop turns."""
        return time.monotonic() - self._turned_s < _STILL_S

    # -------------------------------------------------------------------------------------------- small steps

    def _start(self) -> None:
        if len(str(self._socket).encode()) > _LONGEST_SOCKET:
            raise SettingsError(f"--work-dir: {self._socket} is too long for the path of a socket")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._door.write(door_text(self._place, token=self._token))
        except OSError as error:
            raise SettingsError(f"--work-dir cannot be written: {error}") from error
        self._door.check()  # before anything is started that would have to be ended
        self._look()
        self._tell_switch(start=True)
        self._door.start()
        if not wait_for(self._door, lambda: self._answers(f"/{self._token}"), _START_S):
            self._door.kill()
            self._switch.kill()
            raise SettingsError(f"cannot listen on {self._place.address}:{self._place.port}")

    def _turn(self) -> None:
        if not self._switch.runs():
            log.warning("the switch has ended and is started again")
            self._switch.kill()
            self._told = None
        if not self._door.runs():
            log.warning("the door has ended and is started again")
            self._door.kill()
            self._door.start()
        self._look()
        self._tell_switch(start=not self._switch.runs())
        self._say(draining=self._switch.workers()[1])

    def _look(self) -> None:
        """Take up the documents that are mounted; an incomplete set leaves the last complete one."""
        try:
            texts = read_texts(self._config_dir)
            if texts != self._texts:
                self._routes = read_routes(texts)
                self._texts = texts
                self._say(group=self._routes.group, generation=self._routes.generation)
        except DocumentError as error:
            if str(error) != self._state.fault:
                log.warning("the routes cannot be obeyed", extra={"error": str(error)})
            self._say(fault=str(error))
            return
        self._say(fault=self._refusal)

    def _tell_switch(self, *, start: bool) -> None:
        """Write the switch's configuration if it is another one, and return when it is in force."""
        routes = self._routes or _NOTHING
        addresses: Addresses = self._book.addresses(routes)
        self._say(absent=missing(addresses.items()))
        told = self._told
        if not start and told is not None and told[0] is self._routes and told[1] == addresses:
            return
        told = (self._routes, addresses)
        tag = secrets.token_hex(16)
        if not self._put(routes, addresses, tag):
            if not start:
                return  # by the former routes, until nginx takes these
            told, (routes, addresses) = None, self._taken
            self._switch.put(switch_text(self._place, routes, addresses, tag=tag))
        if start:
            for name in (SOCKET, DIRECT_SOCKET):  # of one that was killed
                (self._folder / name).unlink(missing_ok=True)
            self._switch.start()
        else:
            self._switch.reload()
            self._say(reloads=self._state.reloads + 1)
        if not wait_for(self._switch, lambda: self._in_force(tag), _TOLD_S):
            self._say(failures=self._state.failures + 1)
            raise RuntimeError("nginx has not taken up its configuration")
        self._told, self._taken = told, (routes, addresses)
        observed = None if self._routes is None or told is None else self._state.generation
        self._say(observed_generation=observed, models=len(routes.models))

    def _put(self, routes: Routes, addresses: Addresses, tag: str) -> bool:
        """Write the switch's configuration; return whether nginx takes it, and say so where it does not."""
        try:
            self._switch.put(switch_text(self._place, routes, addresses, tag=tag))
        except SettingsError as error:
            if self._refusal is None:
                log.error("nginx refuses the routes", extra={"error": str(error)})  # noqa: TRY400 - it says all
            self._refusal = str(error)
            self._say(fault=self._refusal, failures=self._state.failures + 1)
            return False
        self._refusal = None
        return True

    def _in_force(self, tag: str) -> bool:
        """Return whether every new request is routed by a configuration."""
        answer = ask_socket(self._socket, GENERATION_PATH)
        new = answer is not None and tag.encode() in answer
        return new and self._switch.workers()[0] == self._place.workers

    def _answers(self, path: str) -> bool:
        address = _ANY_ADDRESS.get(self._place.address, self._place.address)
        return ask_port(address, self._place.port, path) == 204

    def _say(self, **fields: object) -> None:
        self._state = replace(self._state, **fields)  # type: ignore[arg-type]

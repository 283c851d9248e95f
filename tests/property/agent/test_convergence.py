"""Whatever happens, in whatever order, with whatever is stopped half-way: the world ends as desired.

A small world stands in for disk and server. Actions that may start are carried out in any order; between them
the desire changes, the server restarts, or is away and starts unseen, loads and downloads fail, the agent
forgets what it only remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, assert_never, get_args

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.actions import (
    Action,
    Discard,
    Download,
    Install,
    Load,
    Remove,
    Stow,
    Unload,
    next_actions,
)
from agent.lanes import Lanes, admit
from agent.ledger import Waiting
from agent.observed import Absence, Copy, Observed, Seen, with_row
from agent.outcomes import (
    SERVER_UNREACHABLE,
    Discarded,
    Downloaded,
    Failed,
    Installed,
    Loaded,
    Outcome,
    Removed,
    Stowed,
    UnloadAsked,
    after,
)
from agent.pins import Pin, Target
from agent.records import Copies
from agent.servers.port import IndexRow
from agent.status import served_uri
from tests.support.agent_models import on_gpu, target

NAMES = ("a", "b")
Desire = dict[str, tuple[str, int, str]]
Ending = Literal["well", "at once", "half-way", "unanswered"]
LANES = Lanes(downloads=2, server=2)
BROKEN = "file:///broken"
"""What comes from there is refused by the server."""


@dataclass
class World:
    """Disk and server: what is true, whatever the agent believes."""

    staged: dict[str, Copy] = field(default_factory=dict)
    former: dict[str, Copy] = field(default_factory=dict)
    installed: dict[str, Copy] = field(default_factory=dict)
    rows: dict[str, IndexRow] = field(default_factory=dict)
    served: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)
    on_their_way: dict[str, Load] = field(default_factory=dict)
    loads: int = 0
    up: bool = True

    def carry_out(self, action: Action, *, ends: Ending) -> Outcome:  # noqa: PLR0911 - one a case
        if ends != "well":
            return self.fail(action, ends)
        name = action.name
        match action:
            case Download(storage_uri=uri):
                self.staged[name] = Copy(storage_uri=uri)
                return Downloaded(copy=self.staged[name])
            case Install():
                return self.install(action)
            case Stow():
                return self.stow(action)
            case Load():
                return self.load(action)
            case Unload():
                self.finish_loads(name)  # calls for one model queue in order
                self.rows[name] = IndexRow("UNLOADING")
                return UnloadAsked()
            case Remove():
                self.leave_alone_what_is_held(name)
                self.installed.pop(name, None)
                self.staged.pop(name, None)
                self.former.pop(name, None)
                return Removed()
            case Discard():
                self.staged.pop(name, None)
                if self.former.pop(name, None) is not None and name in self.served:
                    assert self.served[name][0] == self.installed[name].storage_uri
                return Discarded()
            case _:
                assert_never(action)

    def load(self, load: Load) -> Outcome:
        name = load.name
        assert self.installed[name].storage_uri is not None
        self.loads += 1
        self.finish_loads(name)  # calls for one model queue in order
        self.place(load)
        if self.installed[name].storage_uri == BROKEN:
            return self.refuse(load)
        self.installed[name] = _placed(self.installed[name], load.pin)
        self.former.pop(name, None)
        self.serve(name, load.pin)
        return Loaded(copy=self.installed[name], seconds=0.0, update=load.update)

    def install(self, install: Install) -> Outcome:
        name = install.name
        self.leave_alone_what_is_held(name)
        if not install.update:
            self.former.pop(name, None)
        elif name not in self.former:
            self.former[name] = self.installed[name]
        self.installed[name] = _placed(self.staged.pop(name), install.pin)
        self.configs[name] = install.pin.instance_group or ""
        return Installed(copy=self.installed[name], former=self.former.get(name))

    def stow(self, stow: Stow) -> Outcome:
        name = stow.name
        if not stow.unsure:
            self.leave_alone_what_is_held(name)
        assert self.installed[name].storage_uri is not None
        self.staged[name] = self.installed.pop(name)
        former = self.former.pop(name, None)
        if former is not None:
            self.installed[name] = replace(former, loaded_pin=None)
            self.configs[name] = former.loaded_pin or ""
        return Stowed(copy=self.staged[name], installed=self.installed.get(name), unsure=stow.unsure)

    def fail(self, action: Action, ends: Ending) -> Failed:
        """Fail before anything has happened, or, of a load, once its files are in place; or have it go on."""
        match action:
            case Load(name=name) if ends == "half-way":
                self.finish_loads(name)
                self.place(action)
                return self.refuse(action)
            case Load(name=name) if ends == "unanswered":
                self.place(action)
                self.on_their_way[name] = action
                return self.failed(reason=SERVER_UNREACHABLE, copies=self.copies(name))
            case Load(name=name, update=update):
                back = name in self.former and self.restore(action)
                return self.failed(update=update or back, copies=self.copies(name))
            case Download(update=update) | Install(update=update):
                return self.failed(update=update)
            case _:
                return self.failed()

    def failed(self, *, reason: str = "Chance", update: bool = False, copies: Copies | None = None) -> Failed:
        return Failed(
            state="FailedToLoad", reason=reason, message="x", retry="soon", update=update, copies=copies
        )

    def refuse(self, load: Load) -> Failed:
        """Answer a load with an error: what served serves on."""
        name = load.name
        if name not in self.served:
            self.rows[name] = IndexRow("UNAVAILABLE", "refused")
        back = name in self.former and self.restore(load)
        return self.failed(update=back, copies=self.copies(name))

    def restore(self, load: Load) -> bool:
        """Put the former copy back; return that it was done."""
        name = load.name
        copy = self.former.pop(name)
        self.staged[name] = self.installed[name]
        self.installed[name] = copy if load.update else replace(copy, loaded_pin=None)
        self.configs[name] = copy.loaded_pin or ""
        return True

    def serve(self, name: str, pin: Pin) -> None:
        self.rows[name] = IndexRow("READY")
        self.served[name] = (self.installed[name].storage_uri, pin.instance_group or "")

    def copies(self, name: str) -> Copies:
        return Copies(
            installed=self.installed.get(name), staged=self.staged.get(name), former=self.former.get(name)
        )

    def leave_alone_what_is_held(self, name: str) -> None:
        row = self.rows.get(name)
        assert row is None or row.state == "UNAVAILABLE", f"files of {name} were touched while it was {row}"
        assert name not in self.on_their_way, f"files of {name} were touched while a load was on its way"

    def finish_loads(self, *names: str) -> None:
        """Let loads arrive whose caller was killed: the server goes on, nobody notes it."""
        for name in names:
            load = self.on_their_way.pop(name, None)
            if load is None or name not in self.installed:
                continue
            if self.installed[name].storage_uri != BROKEN:
                self.serve(name, load.pin)
            elif name not in self.served:
                self.rows[name] = IndexRow("UNAVAILABLE", "refused")

    def finish_unloads(self) -> None:
        for name, row in self.rows.items():
            if row.state == "UNLOADING":
                self.rows[name] = IndexRow("UNAVAILABLE", "unloaded")
                self.served.pop(name, None)

    def send(self, load: Load) -> None:
        """Write a load's pin and send the load; its caller is killed before the answer."""
        self.place(load)
        self.on_their_way[load.name] = load

    def place(self, load: Load) -> None:
        """Bring a newer copy, or a load's pin, where it is not there, and forget which pin is loaded."""
        text = load.pin.instance_group or ""
        if load.update:
            assert self.rows[load.name].state == "READY"
            assert load.name not in self.former
            self.former[load.name] = self.installed[load.name]
            self.installed[load.name] = replace(self.staged.pop(load.name), loaded_pin=None)
            self.configs[load.name] = text
        elif self.configs.get(load.name) != text:
            self.installed[load.name] = replace(self.installed[load.name], loaded_pin=None)
            self.configs[load.name] = text

    def restart_server(self, *, with_all: bool) -> None:
        """Let another process begin, with no model or with all of the repository."""
        self.end_server()
        self.up = True
        for name, copy in self.installed.items() if with_all else ():
            if copy.storage_uri == BROKEN:
                self.rows[name] = IndexRow("UNAVAILABLE", "refused")
                continue
            self.rows[name] = IndexRow("READY")
            self.served[name] = (copy.storage_uri, self.configs.get(name, ""))

    def end_server(self) -> None:
        self.up = False
        self.on_their_way.clear()
        self.rows.clear()
        self.served.clear()


def _placed(copy: Copy, pin: Pin) -> Copy:
    return Copy(storage_uri=copy.storage_uri, loaded_pin=pin.instance_group or "", loaded_devices=pin.devices)


@dataclass
class Agent:
    world: World
    targets: dict[str, Target] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    now_s: float = 0.0
    absence: Absence = Absence.UNKNOWN

    def look(self) -> None:
        if not self.world.up:
            return
        self.absence = Absence.UNKNOWN
        for name in {*NAMES, *self.seen}:
            self.seen[name] = with_row(
                self.seen.get(name, Seen()), self.world.rows.get(name), now_s=self.now_s
            )

    def restart(self) -> None:
        world = self.world
        self.seen = {
            name: Seen(
                installed=world.installed.get(name),
                staged=world.staged.get(name),
                former=world.former.get(name),
                unsure=name in world.installed,
            )
            for name in NAMES
        }
        self.look()

    def admitted(self) -> tuple[Action, ...]:
        observed = Observed(
            models=self.seen, server_live=not self.absence, absence=self.absence, now_s=self.now_s
        )
        freeing = {
            device
            for seen in self.seen.values()
            if seen.row is not None and seen.row.state == "UNLOADING" and seen.installed is not None
            for device in seen.installed.loaded_devices
        }
        waiting = Waiting()
        for action in next_actions(self.targets, observed):
            waiting.put(action.name, action)
        return admit(waiting.queues, (), lanes=LANES, freeing=freeing)

    def act(self, action: Action, *, ends: Ending = "well") -> None:
        outcome = self.world.carry_out(action, ends=ends)
        self.seen[action.name] = after(
            self.seen.get(action.name, Seen()), outcome, now_s=self.now_s, wait_s=1.0
        )

    def send_loads(self) -> None:
        """Begin to load, and learn nothing of what comes of it."""
        for action in self.admitted():
            if isinstance(action, Load):
                self.world.send(action)

    def settle_for(self, *, rounds: int) -> int:
        """Go on, so many rounds at most, until there is nothing to do; return how many rounds it took."""
        if not self.world.up:
            self.world.restart_server(with_all=False)
        for done in range(rounds):
            self.now_s += 5.0
            self.world.finish_unloads()
            self.world.finish_loads(*NAMES)
            self.look()
            actions = self.admitted()
            if not actions:
                return done
            for action in actions:
                self.act(action)
        return rounds

    def settle(self) -> int:
        """Go on until there is nothing to do; return how many rounds it took."""
        rounds = self.settle_for(rounds=60)
        if rounds < 60:
            return rounds
        raise AssertionError(f"no end: {self.admitted()}")


def asking(*uris: str) -> st.SearchStrategy[Desire]:
    """Return desires for models that come from these places."""
    states = st.sampled_from(["resident", "standby"])
    return st.dictionaries(
        st.sampled_from(NAMES), st.tuples(st.sampled_from(uris), st.integers(0, 1), states)
    )


desires = asking("file:///x", "file:///y", BROKEN)
good_desires = asking("file:///x", "file:///y")
acts = st.tuples(st.just("act"), st.integers(1, 4), st.sampled_from(get_args(Ending)))
events = st.one_of(
    st.tuples(st.just("desire"), desires),
    acts,
    acts.map(lambda act: (act[0], act[1], "well")),  # most actions do not fail
    st.tuples(st.just("look")),
    st.tuples(st.just("unloads end")),
    st.tuples(st.just("server restarts"), st.booleans()),
    st.tuples(st.just("server is away"), st.sampled_from(list(Absence)[1:])),
    st.tuples(st.just("server starts unseen"), st.booleans()),
    st.tuples(st.just("agent restarts")),
    st.tuples(st.just("agent is killed while it loads")),
    st.tuples(st.just("loads arrive")),
)


def wanted(desire: Desire) -> dict[str, Target]:
    return {
        name: target(name, storage_uri=uri, devices=on_gpu(gpu), state=state)
        for name, (uri, gpu, state) in desire.items()
    }


def happen(agent: Agent, event: tuple[object, ...]) -> None:
    world = agent.world
    match event:
        case ("desire", dict() as desire):
            agent.targets = wanted(desire)
        case ("act", int() as number, "well" | "at once" | "half-way" | "unanswered" as ends):
            for action in agent.admitted()[:number]:
                agent.act(action, ends=ends)
        case ("look",):
            agent.look()
        case ("unloads end",):
            world.finish_unloads()
        case ("agent restarts",):
            agent.restart()
        case ("agent is killed while it loads",):
            agent.send_loads()
            agent.restart()
        case ("loads arrive",):
            world.finish_loads(*NAMES)
        case _:
            happen_to_server(agent, event)


def happen_to_server(agent: Agent, event: tuple[object, ...]) -> None:
    world = agent.world
    match event:
        case ("server restarts", bool() as with_all):
            # The agent knows before it acts: a call to a dead server fails, and a look follows.
            world.restart_server(with_all=with_all)
            agent.look()
        case ("server is away", Absence() as absence):
            world.end_server()
            agent.absence = max(agent.absence, absence)
        case ("server starts unseen", bool() as with_all) if not world.up:
            world.restart_server(with_all=with_all)


AWAY_FOR_GOOD = ("server is away", Absence.ENDLESS)
ON_0: Desire = {"a": ("file:///x", 0, "resident")}
ON_1: Desire = {"a": ("file:///x", 1, "resident")}


def moved_and_back(ends: Ending, *then: tuple[object, ...]) -> list[tuple[object, ...]]:
    """Return a history in which a loaded model is to move, its load fails, and it is to be where it was."""
    return [("act", 1, "well"), ("desire", ON_1), ("act", 1, ends), ("desire", ON_0), ("look",), *then]


@settings(max_examples=600, deadline=None)
@example(ON_0, moved_and_back("unanswered", ("loads arrive",)), ON_0)
@example(ON_0, moved_and_back("half-way", ("server restarts", True)), ON_0)
@given(good_desires, st.lists(events, min_size=5, max_size=40), good_desires)
def test_it_ends_as_desired_and_then_rests(
    first: Desire, history: list[tuple[object, ...]], last: Desire
) -> None:
    world = World(installed={name: Copy(storage_uri=uri) for name, (uri, _, _) in first.items()})
    agent = Agent(world, targets=wanted(first))
    agent.restart()
    for event in history:
        agent.now_s += 0.5
        happen(agent, event)
    agent.targets = wanted(last)
    agent.settle()
    pins = {name: one.pin.instance_group for name, one in agent.targets.items() if one.pin}
    residents = {name for name, (_, _, state) in last.items() if state == "resident"}
    assert world.served == {name: (last[name][0], pins[name]) for name in residents}
    for copies, state in ((world.installed, "resident"), (world.staged, "standby")):
        assert {name: copy.storage_uri for name, copy in copies.items()} == {
            name: uri for name, (uri, _, wanted) in last.items() if wanted == state
        }
    assert world.former == {}
    done = world.loads
    agent.restart()
    assert agent.settle() == 0
    assert world.loads == done


@settings(max_examples=300, deadline=None)
@given(st.lists(events.filter(lambda event: event[0] != "desire" and "server" not in event[0]), max_size=30))
def test_what_serves_goes_on_serving_whatever_becomes_of_its_update(
    history: list[tuple[object, ...]],
) -> None:
    world = World(installed={"a": Copy(storage_uri="file:///x")})
    agent = Agent(world, targets=wanted(ON_0))
    agent.restart()
    agent.settle()
    good, _ = world.served["a"]
    agent.targets = wanted({"a": (BROKEN, 1, "resident")})
    for event in history:
        agent.now_s += 0.5
        happen(agent, event)
        assert world.served["a"][0] == good
        assert world.rows["a"].state == "READY"
    agent.settle_for(rounds=5)
    assert world.served["a"][0] == good
    assert agent.seen["a"].installed == world.installed["a"]
    assert served_uri(agent.seen["a"]) == "file:///x"


@settings(max_examples=300, deadline=None)
@given(
    # Of what has served, an agent that was restarted knows nothing while the server is away without end.
    st.lists(events.filter(lambda event: event[0] != "desire" and event != AWAY_FOR_GOOD), max_size=30)
)
def test_what_served_is_loaded_again_where_its_update_fails(history: list[tuple[object, ...]]) -> None:
    world = World(installed={"a": Copy(storage_uri="file:///x")})
    agent = Agent(world, targets=wanted(ON_0))
    agent.restart()
    agent.settle()
    agent.targets = wanted({"a": (BROKEN, 0, "resident")})
    for event in history:
        agent.now_s += 0.5
        happen(agent, event)
    agent.settle_for(rounds=12)
    assert world.served["a"][0] == "file:///x"

"""Groups that a fleet document lets go while models are there: nobody loses his server, and it ends."""

from __future__ import annotations

import contextlib

import pytest

from planner.controller.following import Follower
from planner.controller.objects import Mode, Style
from planner.controller.pace import Pace
from planner.controller.world import KINDS
from planner.controller.writes import Write
from planner.manifests.options import ManifestOptions
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
    placement_of,
)

MODES: tuple[Mode, ...] = ("kserve", "standalone")
PACE = Pace(empty_s=60.0)
Groups = dict[str, tuple[set[str], set[str]]]


def text_of(*groups: str) -> str:
    """A fleet of several groups, each with a shard type called like it."""
    text = a_fleet_text(max_models=2)
    head, types = text.split("  shardTypes:\n")
    named = [types.replace("name: t4", f"name: {one}") for one in groups]
    found = [item.replace("group: news", f"group: {one}") for item, one in zip(named, groups, strict=True)]
    return f"{head}  shardTypes:\n" + "".join(one.rstrip() + "\n" for one in found)


def style_of(mode: Mode, *, gateway: bool = False) -> Style:
    return Style(mode=mode, options=ManifestOptions(gateway="nginx" if gateway else "none"))


def a_cluster(mode: Mode = "kserve", *, gateway: bool = False) -> tuple[MemoryCluster, Run]:
    """Three models on two shards of ``news``, one model on the only shard of ``sports``."""
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(text_of("news", "sports")))
    run = Run(cluster, style=style_of(mode, gateway=gateway), pace=PACE)
    for name in ("a", "b", "c"):
        cluster.put("TrainedModel", a_trained_model(name))
    cluster.put("TrainedModel", a_trained_model("s", parent="sports"))
    run.settle(agents=loaded_agents())
    return cluster, run


def groups_of(run: Run) -> Groups:
    """The groups of each fleet: those of its document, and those that it has released."""
    return {plan.fleet.source: (set(plan.fleet.kept), set(plan.fleet.released)) for plan in run.engine.plans}


def servers(cluster: MemoryCluster) -> set[str]:
    found = [*cluster.of("InferenceService"), *cluster.of("Deployment")]
    return {name.removesuffix("-predictor") for name in found if not name.endswith("-gateway")}


def assigned(cluster: MemoryCluster, name: str) -> tuple[str, str]:
    conditions = cluster.of("TrainedModel")[name]["status"]["conditions"]
    (found,) = (item for item in conditions if item["type"] == "Assigned")
    return found["reason"], found["message"]


def again(cluster: MemoryCluster, run: Run) -> Run:
    """A controller that starts on what is there, and writes nothing."""
    written = cluster.writes.copy()
    fresh = Run(cluster, now=run.now, style=run.engine.scene.style, pace=run.engine.scene.pace)
    fresh.turn(agents=loaded_agents())
    for _ in range(5):
        fresh.turn(agents=loaded_agents())
    assert cluster.writes == written
    return fresh


def events(run: Run, reason: str) -> list[str]:
    return [told.message for told in run.told if told.reason == reason and told.kind == "ConfigMap"]


@pytest.mark.parametrize("mode", MODES)
def test_a_dropped_group_is_served_on_gets_nothing_new_and_ends_with_its_models(mode: Mode) -> None:
    cluster, run = a_cluster(mode)
    there = servers(cluster)
    cluster.put("ConfigMap", fleet_map(text_of("sports", "weather")))
    cluster.put("TrainedModel", a_trained_model("late"))
    run.settle(agents=loaded_agents())
    assert servers(cluster) == there | {"weather"}
    assert groups_of(run) == {"fleet": ({"sports", "weather"}, {"news"})}
    assert placement_of(cluster).keys() == {"a", "b", "c", "s"}
    reason, message = assigned(cluster, "late")
    assert reason == "GroupReleased"
    assert message.endswith("no fleet document has group news any more: nothing new comes to its shards")
    (told,) = events(run, "GroupReleased")
    assert told.startswith("no document has group news any more; models on its shards: 3, shards: 2; ")
    run = again(cluster, run)
    assert groups_of(run) == {"fleet": ({"sports", "weather"}, {"news"})}
    for name in ("a", "b", "c", "late"):
        cluster.remove("TrainedModel", name)
    run.settle(agents=loaded_agents())
    assert servers(cluster) == {"sports", "weather"}
    assert groups_of(run) == {"fleet": ({"sports", "weather"}, set())}
    assert events(run, "GroupClosed") == ["group news, which was released"]
    assert "released.yaml" not in cluster.of("ConfigMap")["fleet.in-force"]["data"]
    assert groups_of(again(cluster, run)) == {"fleet": ({"sports", "weather"}, set())}


def test_what_is_there_may_change_and_is_counted() -> None:
    cluster, run = a_cluster()
    cluster.put("ConfigMap", fleet_map(text_of("sports") + "  policy: {limits: {maxShards: 3}}\n"))
    cluster.put("TrainedModel", a_trained_model("a", uri="s3://models/a/2"))
    for name in ("s2", "s3"):
        cluster.put("TrainedModel", a_trained_model(name, parent="sports"))
    run.settle(agents=loaded_agents())
    document = cluster.of("ConfigMap")["shardpack-news-0"]["data"]["placement-0.json"]
    assert "s3://models/a/2" in document
    assert placement_of(cluster)["s2"] == {"sports"}
    assert assigned(cluster, "s3")[0] == "NoRoom"  # two shards of the released group, one of its own
    for name in ("a", "b", "c"):
        cluster.remove("TrainedModel", name)
    run.settle(agents=loaded_agents())
    assert placement_of(cluster)["s3"] == {"sports-1"}


def test_one_that_comes_back_is_as_it_was() -> None:
    cluster, run = a_cluster()
    before = placement_of(cluster)
    cluster.put("ConfigMap", fleet_map(text_of("sports")))
    cluster.put("TrainedModel", a_trained_model("late"))
    run.settle(agents=loaded_agents(), longest_s=300)
    cluster.put("ConfigMap", fleet_map(text_of("news", "sports")))
    run.settle(agents=loaded_agents())
    assert groups_of(run) == {"fleet": ({"news", "sports"}, set())}
    assert placement_of(cluster) == before | {"late": {"news-1"}}


def test_another_document_takes_a_released_group_with_its_shards() -> None:
    cluster, run = a_cluster()
    cluster.put("ConfigMap", fleet_map(text_of("news"), "other"))
    run.settle(agents=loaded_agents())
    assert groups_of(run) == {"fleet": ({"news", "sports"}, set())}
    before = placement_of(cluster), servers(cluster)
    cluster.put("ConfigMap", fleet_map(text_of("sports")))
    run.settle(agents=loaded_agents())
    wanted: Groups = {"fleet": ({"sports"}, set()), "other": ({"news"}, set())}
    assert groups_of(run) == wanted
    assert groups_of(again(cluster, run)) == wanted
    assert (placement_of(cluster), servers(cluster)) == before


def test_two_documents_share_what_a_deleted_one_had() -> None:
    cluster, run = a_cluster()
    cluster.remove("ConfigMap", "fleet")
    run.settle(agents=loaded_agents())
    assert groups_of(run) == {"fleet": (set(), {"news", "sports"})}
    assert groups_of(again(cluster, run)) == groups_of(run)
    before = placement_of(cluster), servers(cluster)
    cluster.put("ConfigMap", fleet_map(text_of("news"), "n"))
    run.settle(agents=loaded_agents())
    assert groups_of(run) == {"fleet": (set(), {"sports"}), "n": ({"news"}, set())}
    run = again(cluster, run)
    assert groups_of(run) == {"fleet": (set(), {"sports"}), "n": ({"news"}, set())}
    cluster.put("ConfigMap", fleet_map(text_of("sports"), "s"))
    run.settle(agents=loaded_agents())
    assert groups_of(run) == {"n": ({"news"}, set()), "s": ({"sports"}, set())}
    assert (placement_of(cluster), servers(cluster)) == before
    assert "fleet.in-force" not in cluster.of("ConfigMap")
    assert groups_of(again(cluster, run)) == groups_of(run)


def test_a_deleted_fleet_ends_with_its_models() -> None:
    cluster, run = a_cluster()
    cluster.remove("ConfigMap", "fleet")
    run.settle(agents=loaded_agents())
    for name in ("a", "b", "c", "s"):
        cluster.remove("TrainedModel", name)
    run.settle(agents=loaded_agents())
    assert groups_of(run) == {}
    assert servers(cluster) == set()
    assert [name for name in cluster.of("ConfigMap") if "in-force" in name or "shardpack-" in name] == []


def test_an_edit_while_no_controller_ran_is_one() -> None:
    cluster, run = a_cluster()
    cluster.put("ConfigMap", fleet_map(text_of("sports")))
    fresh = Run(cluster, now=run.now, pace=PACE)
    fresh.settle(agents=loaded_agents())
    assert groups_of(fresh) == {"fleet": ({"sports"}, {"news"})}
    assert placement_of(cluster).keys() == {"a", "b", "c", "s"}


def test_an_older_document_takes_no_group_at_a_restart() -> None:
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(text_of("sports"), "older"))
    cluster.put("ConfigMap", fleet_map(text_of("news"), "younger"))
    run = Run(cluster, pace=PACE)
    cluster.put("TrainedModel", a_trained_model("m"))
    run.settle(agents=loaded_agents())
    cluster.put("ConfigMap", fleet_map(text_of("sports", "news"), "older"))
    run.settle(agents=loaded_agents())
    wanted: Groups = {"older": ({"sports"}, set()), "younger": ({"news"}, set())}
    assert groups_of(run) == wanted
    assert groups_of(again(cluster, run)) == wanted


def test_a_shard_type_of_a_released_group_is_not_another_groups() -> None:
    cluster, run = a_cluster()
    cluster.put("ConfigMap", fleet_map(text_of("sports", "news").replace("group: news", "group: weather")))
    run.settle(agents=loaded_agents())
    (told,) = events(run, "BadFleet")
    assert told.startswith("fleet: spec.shardTypes.news: shard type 'news' was one of group 'news', which is")
    assert groups_of(run) == {"fleet": ({"news", "sports"}, set())}


def test_what_is_kept_beside_a_document_has_to_fit_into_a_config_map_in_bytes() -> None:
    cluster, run = a_cluster()
    cluster.put("ConfigMap", fleet_map(f"# {'é' * 460_000}\n{text_of('sports')}"))
    run.settle(agents=loaded_agents())
    assert events(run, "BadFleet") == [
        "fleet: is too long beside what has to be kept of groups that it does not have any more"
    ]


def test_a_group_is_not_called_like_the_shards_of_a_released_one() -> None:
    cluster, run = a_cluster()
    cluster.put("ConfigMap", fleet_map(text_of("sports", "news-1")))
    run.settle(agents=loaded_agents())
    assert events(run, "BadFleet") == [
        "fleet: shards of group 'news', which it does not have any more, are called like 'news-1'"
    ]


def test_a_server_that_was_taken_away_does_not_come_back_empty() -> None:
    cluster, run = a_cluster()
    for name in ("news", "news-1"):
        del cluster.of("InferenceService")[name]["metadata"]["annotations"]["shardpack.dev/opened-by"]
    run = Run(cluster, now=run.now, pace=PACE)
    cluster.put("ConfigMap", fleet_map(text_of("sports")))
    for name in ("a", "b", "c"):
        cluster.remove("TrainedModel", name)
    run.settle(agents=loaded_agents())
    assert servers(cluster) == {"news", "news-1", "sports"}  # whoever opened them may close them
    for name in ("news", "news-1"):
        cluster.remove("InferenceService", name)
    run.settle(agents=loaded_agents())
    assert servers(cluster) == {"sports"}
    assert groups_of(run) == {"fleet": ({"sports"}, set())}


def test_the_gateway_of_a_released_group_goes_last() -> None:
    cluster, run = a_cluster(gateway=True)
    run.settle(agents=loaded_agents())
    assert "news-gateway" in cluster.of("Deployment")
    cluster.put("ConfigMap", fleet_map(text_of("sports")))
    run.settle(agents=loaded_agents())
    assert "news-gateway" in cluster.of("Deployment")
    for name in ("a", "b", "c"):
        cluster.remove("TrainedModel", name)
    run.settle(agents=loaded_agents())
    left = [name for kind in KINDS for name in cluster.of(kind) if name.startswith("news") and kind != "Pod"]
    assert left == []
    assert groups_of(run) == {"fleet": ({"sports"}, set())}
    assert "sports-gateway" in cluster.of("Deployment")


def test_who_follows_knows_of_released_groups() -> None:
    cluster, run = a_cluster()
    cluster.put("ConfigMap", fleet_map(text_of("sports")))
    run.settle(agents=loaded_agents())
    follower = Follower(NAMESPACE)
    for kind in KINDS:
        for item in cluster.of(kind).values():
            follower.see(kind, item)
    while follower.catch_up(100):
        pass
    (plan,) = follower.plans
    assert (plan.fleet.kept, set(plan.fleet.released)) == (("sports",), {"news"})
    (before,) = follower.plans
    cluster.put("ConfigMap", fleet_map(text_of("weather"), "not-taken-yet"))
    follower.see("ConfigMap", cluster.of("ConfigMap")["not-taken-yet"])
    while follower.catch_up(100):
        pass
    assert follower.groups == ("sports", "news", "weather")
    assert before in follower.plans, "nothing else is read again"
    verdict = follower.judge(a_trained_model("late"))
    assert verdict is not None
    assert verdict.refusal.endswith("nothing new comes to its shards")


def test_a_document_with_too_long_a_name_holds_nobody_up() -> None:
    cluster, run = a_cluster()
    cluster.put("ConfigMap", fleet_map(text_of("weather"), "x" * 250))
    cluster.put("TrainedModel", a_trained_model("late"))
    run.settle(agents=loaded_agents())
    (told,) = events(run, "BadFleet")
    assert told.endswith("has a name of more than 244 characters")
    assert "late" in placement_of(cluster)


def test_whoever_is_stopped_at_any_write_ends_with_the_same() -> None:
    """Two groups are handed over to two documents and a third is dropped, over many controllers."""

    class StoppedError(Exception):
        pass

    def stop(write: Write) -> None:
        if next(left, None) is None:
            raise StoppedError

    ends = set()
    for after in range(6):
        cluster, left = MemoryCluster(), iter(range(0))
        cluster.put("ConfigMap", fleet_map(text_of("a", "b", "c"), "old"))
        for group in ("a", "b", "c"):
            cluster.put("TrainedModel", a_trained_model(f"of-{group}", parent=group))
        run = Run(cluster, pace=PACE)
        run.settle(agents=loaded_agents())
        before = {name: on for name, on in placement_of(cluster).items() if name != "of-c"}
        cluster.remove("ConfigMap", "old")
        cluster.remove("TrainedModel", "of-c")
        for group in ("a", "b"):
            cluster.put("ConfigMap", fleet_map(text_of(group), f"new-{group}"))
        for _ in range(6):
            left = iter(range(after))
            run = Run(cluster, now=run.now, pace=PACE, broken=stop)
            with contextlib.suppress(StoppedError):
                run.settle(agents=loaded_agents())
        run = Run(cluster, now=run.now, pace=PACE)
        run.settle(agents=loaded_agents())
        assert placement_of(cluster) == before
        assert servers(cluster) == {"a", "b"}
        names = {name for name in cluster.of("ConfigMap") if "in-force" in name}
        ends.add((frozenset(names), tuple(sorted(owner for owner in groups_of(run)))))
    assert ends == {(frozenset({"new-a.in-force", "new-b.in-force"}), ("new-a", "new-b"))}

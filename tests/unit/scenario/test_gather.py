"""Included documents: merged by name, inside the scenario's folder, never in a circle."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.domain.scenario import Scenario
from planner.errors import InputError
from planner.scenario.load import load_scenario, parse_scenario

HEAD = "apiVersion: shardpack.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n"


def write(folder: Path, name: str, spec: str, *, kind: str = "Scenario") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "".join(f"  {line}\n" for line in spec.splitlines())
    path.write_text(HEAD.format(kind=kind, name="x") + body, encoding="utf-8")
    return path


def load(folder: Path, spec: str) -> Scenario:
    return load_scenario(write(folder, "main.yaml", spec))


def messages(folder: Path, spec: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(folder, spec)
    return [str(fault) for fault in caught.value.faults]


EMPTY = "models: []\nshardTypes: []\n"


def test_a_catalogue_document_brings_parts_and_templates(tmp_path: Path) -> None:
    write(
        tmp_path,
        "parts/own.yaml",
        "deviceClasses: [{name: toy, memory: 1Gi, source: a toy}]\n"
        "backends: [{name: sim}]\n"
        "runtimes: [{name: triton, backends: [sim], pool: 64Mi}]\n"
        "shardTypes: [{name: toy-1, runtime: triton, devices: {class: toy},"
        ' resources: {cpu: "1", memory: 1Gi}}]\n',
        kind="Catalog",
    )
    found = load(
        tmp_path,
        "include: [parts/own.yaml]\nshardTypes: [{use: toy-1, name: t}]\n"
        'models: [{name: a, backend: sim, storageUri: "s3://x/a", footprints: [{class: toy}]}]\n',
    )
    assert [item.name for item in found.device_classes] == ["toy"]
    assert found.runtimes[0].backends == ("sim",)
    assert found.shard_types[0].device_class == "toy"


def test_pieces_of_a_scenario_are_put_together_and_the_including_file_wins(tmp_path: Path) -> None:
    write(
        tmp_path,
        "piece.yaml",
        "policy: {spread: node, headroom: {cpu: 5%, memory: 5%}}\ncluster: {maxIPs: 7}\n"
        "shardTypes: [{use: aws-m7i.2xlarge, name: one}]\n",
    )
    found = load(
        tmp_path,
        "include: [piece.yaml]\npolicy: {headroom: {cpu: 1%}}\nmodels: []\n"
        "shardTypes: [{use: aws-m7i.2xlarge, name: two}]\n",
    )
    assert [item.name for item in found.shard_types] == ["one", "two"]
    assert (found.policy.spread, found.cluster.max_ips) == ("node", 7)
    assert (found.policy.headroom.cpu_ppm, found.policy.headroom.memory_ppm) == (10_000, 50_000)


def test_a_file_that_two_others_include_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "shardTypes: [{use: aws-m7i.2xlarge}]\n")
    write(tmp_path, "a.yaml", "include: [base.yaml]\n")
    write(tmp_path, "b.yaml", "include: [base.yaml]\n")
    assert len(load(tmp_path, "include: [a.yaml, b.yaml]\nmodels: []\n").shard_types) == 1


def test_a_circle_is_a_fault_that_shows_it(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "include: [b.yaml]\n")
    write(tmp_path, "b.yaml", "include: [a.yaml]\n")
    (message,) = messages(tmp_path, "include: [a.yaml]\n" + EMPTY)
    assert message.endswith("spec.include[0]: includes itself: a.yaml -> b.yaml -> a.yaml")
    assert "b.yaml:5" in message


@pytest.mark.parametrize("entry", ["../outside.yaml", "sub/../../outside.yaml", "/etc/hosts"])
def test_no_path_leads_out_of_the_folder(tmp_path: Path, entry: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    write(tmp_path, "outside.yaml", "models: []\n")
    (message,) = messages(inside, f"include: [{entry}]\n{EMPTY}")
    assert "main.yaml:5: spec.include[0]: " in message
    assert "the scenario's folder" in message


def test_no_symbolic_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.yaml").symlink_to(write(tmp_path, "outside.yaml", "models: []\n"))
    (message,) = messages(inside, f"include: [link.yaml]\n{EMPTY}")
    assert "leads out of the scenario's folder" in message


def test_paths_of_an_included_file_start_at_its_own_folder(tmp_path: Path) -> None:
    write(tmp_path, "sub/piece.yaml", "modelsFrom: [{table: m.csv}]\n")
    (tmp_path / "sub" / "m.csv").write_text("name,backend,storageUri,class\na,fil,s3://x/a,cpu\n", "utf-8")
    assert load(tmp_path, "include: [sub/piece.yaml]\nshardTypes: []\n").models[0].name == "a"


def test_a_missing_file_and_a_faulty_one_are_reported_together(tmp_path: Path) -> None:
    write(tmp_path, "bad.yaml", "policy: {spread: nods}\n")
    found = messages(tmp_path, "include: [none.yaml, bad.yaml]\n" + EMPTY)
    assert len(found) == 3
    assert "spec.include[0]: cannot include 'none.yaml'" in found[0]
    assert "none.yaml: no such file" in found[1]
    assert "bad.yaml:5: spec.policy.spread: 'nods' is not one of" in found[2]


def test_a_text_without_a_folder_includes_nothing() -> None:
    text = HEAD.format(kind="Scenario", name="x") + "  include: [a.yaml]\n  models: []\n  shardTypes: []\n"
    with pytest.raises(InputError, match="did not come from a file"):
        parse_scenario(text, file="<stdin>")


def test_a_scenario_that_includes_itself_is_one_fault(tmp_path: Path) -> None:
    found = messages(
        tmp_path, "{include: [main.yaml], shardTypes: [{use: aws-g4dn.xlarge, name: a}], models: []}"
    )
    assert len(found) == 1
    assert "includes itself: main.yaml -> main.yaml" in found[0]

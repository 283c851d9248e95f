"""What is read of a folder of manifests, and what is told of one that holds something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import InputError
from planner.manifests.reading import read_manifests

OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {since: 2026-01-01, on: yes}}\n"


def test_dates_and_switches_are_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OBJECT)
    (item,) = read_manifests(tmp_path)
    assert item["metadata"]["annotations"] == {"since": "2026-01-01", "on": "yes"}


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("a.yaml", "a: " + "[" * 100_000, "a.yaml: is nested deeper than 200 levels"),
        ("a.yaml", "a:\n\t- b", "a.yaml:2: is not YAML: found character"),
        ("a.yaml", "kind: 5", "a.yaml: document 1 is no Kubernetes object"),
        ("kustomization.yaml", "resources: foo", "kustomization.yaml: resources: is no list of files"),
        ("kustomization.yaml", "resources: [5]", "kustomization.yaml: resources: is no list of files"),
        ("kustomization.yaml", "resources: [b.yaml]", "b.yaml: cannot be read: No such file or directory"),
        ("kustomization.yaml", "resources: ['']", "cannot be read: Is a directory"),
    ],
)
def test_every_fault_is_told_with_its_file(tmp_path: Path, file: str, text: str, said: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError) as raised:
        read_manifests(tmp_path)
    assert said in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path))


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"a\.json: is not UTF-8 text"):
        read_manifests(tmp_path)

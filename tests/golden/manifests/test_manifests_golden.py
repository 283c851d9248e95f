"""Every byte of a plan's manifests, as reviewers read them; rewrite with ``--update-goldens``."""

from __future__ import annotations

import shutil
from pathlib import Path

from planner.manifests import ManifestOptions, render_plan
from tests.support.plans import a_plan, everything

EXPECTED = Path(__file__).parent / "expected"


def test_manifests_are_as_recorded(update_goldens):
    scenario, *items = everything()
    options = ManifestOptions(agent_image="registry.example/shardpack-agent:1")
    files = render_plan(a_plan(scenario, *items), scenario, options=options)
    if update_goldens:
        shutil.rmtree(EXPECTED, ignore_errors=True)
        for file in files:
            (EXPECTED / file.path).parent.mkdir(parents=True, exist_ok=True)
            (EXPECTED / file.path).write_text(file.text)
    recorded = {
        path.relative_to(EXPECTED).as_posix(): path.read_text()
        for path in sorted(EXPECTED.rglob("*"))
        if path.is_file()
    }
    assert {file.path: file.text for file in files} == recorded

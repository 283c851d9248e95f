"""What is imported of each kind of objects, word for word, and what is said of it.

The files are in the shapes that the other systems' own documentation and types have, in our own words.
``pytest --update-goldens`` rewrites what is expected; nothing else does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.app import cli

HERE = Path(__file__).parent
ARGUMENTS = {
    "kserve": (),
    "modelmesh": ("--storage", "localMinIO=s3://modelmesh-examples", "--memory", "500Mi"),
    "seldon": ("--namespace", "seldon-mesh", "--shard-type", "aws-m7i.2xlarge"),
    "triton": ("--storage", "s3://models/repository", "--shard-type", "aws-g4dn.xlarge"),
    "michelangelo": ("--backend", "python", "--memory", "1Gi"),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_imports_are_as_recorded(kind, update_goldens, monkeypatch):
    monkeypatch.chdir(HERE)
    result = CliRunner().invoke(cli, ["import", kind, kind, *ARGUMENTS[kind]])
    assert result.exit_code == 0, result.stderr
    for name, text in ((f"{kind}.yaml", result.stdout), (f"{kind}.txt", result.stderr)):
        path = HERE / "expected" / name
        if update_goldens:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text()

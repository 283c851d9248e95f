"""What ``fit`` refuses before it asks a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.app import cli


@pytest.mark.parametrize(
    "text",
    [
        "{kind: TrainedModel, metadata: {name: a}, spec: news}",
        "{kind: TrainedModel, metadata: {name: a}, spec: {inferenceService: news, model: s3://m/a}}",
        "{kind: TrainedModel, metadata: {name: 7}}",
        "{kind: TrainedModel, metadata: {name: a, annotations: {shardpack.dev/model: {replicas: 2}}}}",
        "{kind: InferenceService, metadata: {name: a}}",
    ],
)
def test_what_is_no_trained_model_is_bad_input(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(text)
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", str(path), "--kubeconfig", str(tmp_path / "none")])
    assert end.value.code == 2
    assert "no TrainedModel" in capsys.readouterr().err


def test_stdin_that_is_no_text_is_bad_input() -> None:
    result = CliRunner().invoke(cli, ["fit", "-"], input=b"\xff\xfe\x00")
    assert result.exit_code == 2
    assert result.stderr == "<stdin>:1: is not UTF-8 text (byte 0)\n"


def test_stdin_that_is_closed_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", "-"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "<stdin>: is closed\n"

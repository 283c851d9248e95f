"""Options that are times have an end."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from planner.cli.app import cli


@pytest.mark.parametrize(
    "line",
    [
        "plan s.yaml --time-limit",
        "apply deploy --wait --timeout",
        "rehearse s.yaml p.json --timeout",
        "controller --close-empty",
        "controller --lease-duration",
    ],
)
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "soon"])
def test_a_time_is_a_number_with_an_end(line: str, value: str) -> None:
    result = CliRunner().invoke(cli, [*line.split(), value])
    assert result.exit_code == 2
    assert "Invalid value for '--" in result.stderr


def test_help_calls_them_seconds() -> None:
    assert "--timeout SECONDS" in CliRunner().invoke(cli, ["rehearse", "--help"]).stdout
    assert "--time-limit SECONDS" in CliRunner().invoke(cli, ["plan", "--help"]).stdout

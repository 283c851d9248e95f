"""Secret headers come from files and the environment, and are told to nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.servers.headers import read_headers

SECRET = "s3cret-value"


def test_values_come_from_files_and_environment_and_files_are_read_again(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    given = (f"x-file=file:{tmp_path}/key", "x-env=env:KEY")
    headers = read_headers(given, {"KEY": "other"})
    assert headers.current() == {"x-file": SECRET, "x-env": "other"}
    (tmp_path / "key").write_text("renewed")
    assert headers.current()["x-file"] == "renewed"
    (tmp_path / "key").unlink()
    assert headers.current() == {"x-env": "other"}
    assert "other" not in repr(headers)


@pytest.mark.parametrize(
    "text",
    [
        f"x={SECRET}",
        f"x=text:{SECRET}",
        f"no good name=file:{SECRET}",
        "x=env:ABSENT",
        "x=env:LINES",
        "x=file:/nowhere/at/all",
        SECRET,
    ],
)
def test_what_is_no_header_is_refused_without_telling_its_value(text: str) -> None:
    with pytest.raises(SettingsError, match="--server-header") as raised:
        read_headers([text], {"LINES": f"{SECRET}\r\nx: y"})
    assert SECRET not in str(raised.value).replace(f"file:{SECRET}", "")

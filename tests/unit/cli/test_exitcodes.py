"""The table of exit codes, as a table and as commands live by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import Files, Run

from planner.cli.exitcodes import EXIT_CODES, Outcome, convention_of

# What scripts rely on; a change here breaks them.
TABLE = {
    #                      plain  detailed  diff
    Outcome.DONE: (0, 0, 0),
    Outcome.CHANGED: (0, 2, 1),
    Outcome.INTERNAL: (1, 1, 3),
    Outcome.INPUT: (2, 1, 2),
    Outcome.REFUSED: (3, 1, 3),
    Outcome.NOT_VERIFIED: (4, 1, 4),
    Outcome.INTERRUPTED: (130, 130, 130),
    Outcome.BROKEN_PIPE: (141, 141, 141),
}


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_its_code_under_every_convention(outcome: Outcome) -> None:
    codes = tuple(EXIT_CODES[convention][outcome] for convention in ("plain", "detailed", "diff"))
    assert codes == TABLE[outcome]


def test_only_changes_look_like_changes() -> None:
    for convention, changed in (("detailed", 2), ("diff", 1)):
        codes = EXIT_CODES[convention]  # type: ignore[index]
        assert [outcome for outcome, code in codes.items() if code == changed] == [Outcome.CHANGED]


@pytest.mark.parametrize(
    ("arguments", "convention"),
    [
        (["plan", "a.yaml"], "plain"),
        (["plan", "a.yaml", "--detailed-exitcode"], "detailed"),
        (["-q", "diff", "a", "b"], "diff"),
        (["apply", "deploy", "--diff"], "diff"),
        (["apply", "deploy"], "plain"),
        (["validate", "diff"], "plain"),
        ([], "plain"),
    ],
)
def test_the_convention_follows_from_the_command_line(arguments: list[str], convention: str) -> None:
    assert convention_of(arguments) == convention


def test_codes_of_real_commands(files: Files, run: Run, planned: str) -> None:
    tampered = _tampered(planned)
    for code, arguments in (
        (0, ["--version"]),
        (0, ["validate", files.scenario]),
        (0, ["plan", files.scenario]),
        (0, ["verify", files.scenario, planned]),
        (0, ["diff", planned, planned]),
        (1, ["diff", planned, _emptied(planned)]),
        (2, ["diff", planned, files.path("missing.json")]),
        (2, ["plan"]),
        (2, ["nonsense"]),
        (2, ["plan", files.broken]),
        (2, ["plan", files.path("missing.yaml")]),
        (2, ["plan", files.scenario, "--seed", "-1"]),
        (2, ["verify", files.scenario, files.scenario]),
        (3, ["plan", files.too_small]),
        (4, ["verify", files.scenario, tampered]),
        (4, ["verify", files.too_small, planned]),
        (4, ["explain", planned, "-f", files.too_small]),
        (4, ["manifests", files.scenario, tampered, "--out", "-"]),
        (2, ["plan", files.scenario, "--detailed-exitcode"]),
        (0, ["plan", files.scenario, "--from", planned, "--detailed-exitcode"]),
        (1, ["plan", files.too_small, "--detailed-exitcode"]),
        (1, ["plan", files.broken, "--detailed-exitcode"]),
        (1, ["plan", "--detailed-exitcode"]),
        (1, ["plan", files.scenario, "--nonsense", "--detailed-exitcode"]),
    ):
        result = run(*arguments)
        assert result.exit_code == code, (arguments, result.output)


def _tampered(plan: str) -> str:
    """Return a plan that says it costs less than it does."""
    document = json.loads(Path(plan).read_text(encoding="utf-8"))
    document["cost"]["usdPerHour"] = 0.25
    return _written(plan, "tampered", document)


def _emptied(plan: str) -> str:
    document = json.loads(Path(plan).read_text(encoding="utf-8"))
    return _written(plan, "emptied", {**document, "placements": []})


def _written(plan: str, name: str, document: object) -> str:
    path = Path(plan).with_name(f"{name}.json")
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)

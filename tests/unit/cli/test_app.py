"""The root: help, errors, start-up, pipes and Ctrl-C."""

from __future__ import annotations

import ast
import logging
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest
from cli_runs import SCENARIO, Files, Run
from click.testing import CliRunner, Result

from planner import __version__
from planner.cli.app import EXTRAS, App, cli
from planner.cli.exitcodes import Outcome
from planner.errors import Fault, InputError, RefusedError, ShardpackError, VerificationError
from planner.rehearsal.prerequisites import LIBRARIES

_ROOT = Path(__file__).parents[3]
_HEAVY = (
    "ortools",
    "numpy",
    "pandas",
    "matplotlib",
    "pydantic",
    "kubernetes",
    "yaml",
    "jsonschema",
    "pynvml",
)


def run_python(code: str, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        check=False,
        timeout=60,
        **more,  # type: ignore[call-overload]
    )


def run_command(body: Callable[[], object], *arguments: str) -> Result:
    """Run a command of an ``App`` that does what ``body`` does."""

    @click.command()
    @click.option("--debug", is_flag=True)
    def work(*, debug: bool) -> object:
        return body()

    group = App(commands={"work": work, "diff": work})
    return CliRunner().invoke(group, list(arguments or ("work",)))


def raising(error: BaseException) -> Callable[[], object]:
    def body() -> object:
        raise error

    return body


# ------------------------------------------------------------------------------------- help and start-up


def test_the_version_is_the_distributions(run: Run) -> None:
    assert run("--version").stdout == f"shardpack {__version__}\n"


@pytest.mark.parametrize("command", sorted(set(cli.commands) - {"inventory"}))
def test_every_command_has_examples_and_says_what_its_options_mean(command: str, run: Run) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    for parameter in cli.commands[command].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_no_line_of_help_is_cut(run: Run) -> None:
    assert "..." not in run("--help").stdout.replace("[ARGS]...", "")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["plan", "--help"], ["explain", "-h"]])
def test_start_up_is_light(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from planner.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        f"print([name for name in {_HEAVY} if name in sys.modules])"
    )
    result = run_python(code, *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().split("\n")[-1] == "[]"


@pytest.mark.parametrize("library", ["yaml", "pydantic", "pydantic_core", "numpy", "ortools"])
def test_a_missing_extra_is_a_line_with_the_command_to_type(library: str, files: Files) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; from planner.cli import main; main()"
    result = run_python(code, "plan", files.scenario, "-q")
    assert result.returncode == 2
    assert result.stderr == f"this command needs {library}: in a clone, pip install '.[planner]'\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    "line",
    [
        "validate s",
        "plan s",
        "verify s p",
        "explain p -f s",
        "limits s",
        "inventory nvml",
        "manifests s p --out m",
        "apply s p",
        "diff p q",
        "report p -f s --out r.html",
        "demo",
    ],
)
def test_the_base_install_says_of_every_command_what_it_needs(line: str, files: Files) -> None:
    absent = sorted({*EXTRAS, *LIBRARIES})
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); from planner.cli import main; main()"
    result = run_python(code, *(files.scenario if item == "s" else item for item in line.split()))
    assert re.fullmatch(
        r"this command needs \w+: in a clone, pip install '\.\[(planner|nvml|report)\]'\n", result.stderr
    )
    assert result.returncode == 2


def _distributions_of_extras() -> dict[str, set[str]]:
    """The distributions that the base, called "", and each extra name themselves, not by another extra."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: {
            _plain(re.split(r"[\[<>=!~; ]", item)[0]) for item in items if not item.startswith("shardpack")
        }
        for extra, items in wanted.items()
    }


def _plain(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


def _distributions_by_module() -> dict[str, set[str]]:
    return {module: {_plain(name) for name in names} for module, names in packages_distributions().items()}


def _imported_by_the_planner() -> set[str]:
    found: set[str] = set()
    for path in (_ROOT / "planner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(item.name.partition(".")[0] for item in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                found.add(node.module.partition(".")[0])
    return found


def test_every_library_that_an_extra_brings_is_traced_back_to_it() -> None:
    extras, modules = _distributions_of_extras(), _distributions_by_module()
    for library, extra in EXTRAS.items():
        assert modules[library] & extras[extra], f"{library} is not of the extra {extra}"
    for extra in extras.keys() - {""}:
        traced = set().union(*(modules[name] for name, of in EXTRAS.items() if of == extra))
        assert extras[extra] <= traced, extra


def test_what_the_planner_imports_is_of_the_base_of_an_extra_or_of_the_demo() -> None:
    base = _distributions_of_extras()[""]
    light = {module for module, brought_by in _distributions_by_module().items() if brought_by & base}
    known = sys.stdlib_module_names | light | {"planner", "agent"} | set(EXTRAS) | set(LIBRARIES)
    assert _imported_by_the_planner() <= known


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(shell: str, run: Run) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert f"_SHARDPACK_COMPLETE={shell}_complete" in result.stdout


# ------------------------------------------------------------------------------------------------ errors


def test_every_fault_of_an_input_error_is_a_line() -> None:
    faults = [
        Fault(path="spec.models[3].replicas", message="is -1", file="s.yaml", line=12),
        Fault(path="", message="is no scenario", file="t.yaml"),
    ]
    result = run_command(raising(InputError(faults)))
    assert result.exit_code == 2
    assert result.stderr == "s.yaml:12: spec.models[3].replicas: is -1\nt.yaml: is no scenario\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ShardpackError("x"), 1),
        (RefusedError("x"), 3),
        (VerificationError("x"), 4),
        (click.UsageError("x"), 2),
        (FileNotFoundError(2, "No such file or directory", "x"), 2),
        (OSError(36, "File name too long", "x"), 2),
        (FileExistsError(17, "File exists", "x"), 2),
        (OSError(5, "Input/output error", "x"), 1),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), 1),
        (ModuleNotFoundError("x", name="planner.nowhere"), 1),
        (ModuleNotFoundError("x", name="pandas.core"), 2),
    ],
)
def test_errors_have_exit_codes(error: BaseException, code: int) -> None:
    result = run_command(raising(error))
    assert result.exit_code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_an_error_inside_is_a_line_with_a_hint_and_a_traceback_on_demand() -> None:
    error = raising(ValueError("the 1st line\nthe 2nd"))
    assert run_command(error).stderr == (
        "error inside: ValueError: the 1st line (run again with --debug for the traceback)\n"
    )
    debug = run_command(error, "work", "--debug")
    assert debug.exit_code == 1
    assert "Traceback" in debug.stderr
    assert "ValueError: the 1st line" in debug.stderr


def test_an_error_inside_diff_does_not_look_like_a_difference() -> None:
    assert run_command(raising(ValueError("x")), "diff").exit_code == 3


def test_an_outcome_becomes_its_code() -> None:
    assert run_command(lambda: Outcome.NOT_VERIFIED).exit_code == 4
    assert run_command(lambda: None).exit_code == 0


@pytest.mark.parametrize(("value", "coloured"), [(None, True), ("", True), ("1", False)])
def test_no_color_is_honoured(value: str | None, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    group = App(commands={"work": click.Command("work", callback=raising(ShardpackError("bad")))})
    result = CliRunner().invoke(group, ["work"], color=True)
    assert ("\x1b[" in result.stderr) is coloured


# -------------------------------------------------------------------------------------- pipes and Ctrl-C


def test_a_reader_who_goes_away_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    read, write = os.pipe()
    os.close(read)
    code = "from planner.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "validate", str(path), "-o", "name"],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=_ROOT,
    ) as process:
        os.close(write)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 141
    assert said == b""


def test_ctrl_c_ends_in_one_line() -> None:
    result = run_command(raising(KeyboardInterrupt()))
    assert result.exit_code == 130
    assert result.stderr.strip() == "stopped"


@pytest.mark.parametrize(
    ("arguments", "level"),
    [([], "WARNING"), (["-q"], "ERROR"), (["--debug"], "DEBUG"), (["-q", "--debug"], "DEBUG")],
)
@pytest.mark.parametrize("before_the_command", [True, False])
def test_how_much_is_logged_can_be_said_anywhere(
    arguments: list[str], level: str, before_the_command: bool, run: Run, files: Files
) -> None:
    command = ["validate", files.scenario]
    result = run(*(arguments + command if before_the_command else command + arguments))
    assert result.exit_code == 0
    assert logging.getLevelName(logging.getLogger("planner").level) == level


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "arguments", [["validate", "scenario.yaml"], ["--help"], ["plan", "-h"], ["--version"]]
)
def test_a_full_disk_is_named_and_no_success(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "planner.cli", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"the output cannot be written: No space left on device\n"


def test_stdin_that_is_no_text_is_bad_input(run: Run) -> None:
    result = run("validate", "-", stdin=b"\xff\xfe")
    assert result.exit_code == 2
    assert result.stderr == "<stdin>:1: is not UTF-8 text (byte 0)\n"

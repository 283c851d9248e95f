"""``import``: where results go, and what stops them."""

from __future__ import annotations

from pathlib import Path

from cli_runs import Files, Run

from planner.scenario.load import load_scenario

MODEL = """\
apiVersion: mlops.seldon.io/v1alpha1
kind: Model
metadata: {name: iris}
spec: {storageUri: "s3://models/iris", requirements: [sklearn], memory: 100Mi}
"""


def test_a_scenario_is_written_whole_or_not_at_all(files: Files, run: Run) -> None:
    out = files.path("new.yaml")
    arguments = ("import", "seldon", "-", "--shard-type", "aws-m7i.2xlarge", "--out", out)
    result = run(*arguments, stdin=MODEL)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"wrote 1 model and 1 shard type to {out}" in result.stderr
    assert [model.name for model in load_scenario(Path(out)).models] == ["iris"]
    before = Path(out).read_text()
    broken = run(*arguments, stdin=MODEL.replace("s3://", ""))
    assert (broken.exit_code, broken.stdout, Path(out).read_text()) == (2, "", before)
    assert broken.stderr.startswith("<stdin>:4: spec.storageUri: ")


def test_a_part_is_included_in_a_scenario(files: Files, run: Run) -> None:
    assert run("import", "seldon", "-", "--out", files.path("part.json"), "-q", stdin=MODEL).stderr == ""
    main = "apiVersion: shardpack.dev/v1alpha1\nkind: Scenario\nmetadata: {name: all}\n"
    main += "spec: {include: [part.json], shardTypes: [{name: m, use: aws-m7i.2xlarge}]}\n"
    Path(files.path("all.yaml")).write_text(main)
    assert [model.name for model in load_scenario(Path(files.path("all.yaml"))).models] == ["iris"]


def test_every_format_has_the_models(files: Files, run: Run) -> None:
    for form in ("yaml", "json", "table", "wide", "name"):
        result = run("import", "seldon", "-", "-o", form, stdin=MODEL)
        assert (result.exit_code, "iris" in result.stdout) == (0, True), form
    assert run("import", "seldon", "-", "-o", "name", stdin=MODEL).stdout == "model/iris\n"


def test_what_a_plan_would_refuse_is_left_to_do(run: Run) -> None:
    needs_two = MODEL.replace("requirements: [sklearn]", "requirements: [sklearn], replicas: 20000")
    assert run("import", "seldon", "-", stdin=needs_two).exit_code == 2
    result = run("import", "seldon", "-", "--name", "n", "--shard-type", "aws-p5.48xlarge", stdin=MODEL)
    assert (result.exit_code, "left to do" in result.stderr) == (0, False)


def test_a_shard_type_that_is_not_there_is_bad_usage(files: Files, run: Run) -> None:
    out = files.path("never.yaml")
    result = run("import", "seldon", "-", "--shard-type", "aws-m7i.2xlarg", "--out", out, stdin=MODEL)
    assert (result.exit_code, Path(out).exists()) == (2, False)
    assert "did you mean 'aws-m7i.2xlarge'?" in result.stderr


def test_inputs_are_not_overwritten(files: Files, run: Run) -> None:
    path = files.path("models.yaml")
    Path(path).write_text(MODEL)
    assert "would overwrite what was read" in run("import", "seldon", path, "--out", path).stderr
    assert Path(path).read_text() == MODEL


def test_nothing_to_import_is_bad_input_and_overwrites_nothing(files: Files, run: Run) -> None:
    out = Path(files.path("kept.yaml"))
    out.write_text("kept")
    empty = run("import", "kserve", "-", "--shard-type", "aws-g4dn.xlarge", "--out", str(out), stdin="")
    assert (empty.exit_code, empty.stdout, out.read_text()) == (2, "", "kept")
    assert empty.stderr == "<stdin>: holds no model and no shard type of kserve\n"
    other = run("import", "kserve", "-", stdin=MODEL)
    assert other.exit_code == 2
    assert "<stdin>:2: kind: Model is not carried over" in other.stderr

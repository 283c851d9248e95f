"""Any scenario that loads can be written and is read again as the same."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planner.scenario.dump import scenario_document, scenario_text
from planner.scenario.load import parse_scenario

NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), min_size=1, max_size=8
)
BYTES = st.one_of(
    st.integers(0, 2**40), st.integers(1, 4000).map("{}Mi".format), st.integers(1, 99).map("{}.5Gi".format)
)
MILLI = st.one_of(st.integers(0, 5000).map("{}m".format), st.integers(0, 64), st.just(0.25))
LABELS = st.dictionaries(NAMES, WORDS, max_size=2)
NODE_LABELS = st.dictionaries(NAMES, NAMES, max_size=2)
EXTRA = st.dictionaries(NAMES, MILLI, max_size=2)
RATIO = st.one_of(st.integers(0, 90).map("{}%".format), st.just(0.031), st.just("2.5%"))


def some(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def amount(values: list[Any]) -> Any:
    low, high = sorted(values)
    return {"p50": low, "p95": high}


def amounts(largest: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.integers(0, largest), st.lists(st.integers(0, largest), min_size=2, max_size=2).map(amount)
    )


GPU_MEMORY = st.one_of(
    amounts(2**34),
    st.fixed_dictionaries({"steady": amounts(2**30)}, optional={"residual": amounts(2**30)}),
    st.fixed_dictionaries({"steady": amounts(2**30), "loadPeak": st.integers(2**30, 2**34)}),
)


@st.composite
def footprints(draw: st.DrawFn) -> list[dict[str, Any]]:
    classes = draw(
        st.lists(st.sampled_from(["nvidia-t4", "nvidia-l4", "cpu", "*"]), min_size=1, max_size=3, unique=True)
    )
    host = {"memory": amounts(2**34), "cpu": amounts(8), "disk": amounts(2**34)}
    rest: dict[str, Any] = {
        "extra": EXTRA,
        "batch": st.integers(1, 64),
        "source": st.sampled_from(["measured", "estimated"]),
    }
    gpu = {"gpuMemory": GPU_MEMORY, "gpuTime": amounts(4)}
    return [
        {"class": name, **draw(some(**host, **rest, **({} if name == "cpu" else gpu)))} for name in classes
    ]


@st.composite
def models(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    backends = st.sampled_from(["onnxruntime", "python", "fil"])
    optional = some(
        replicas=st.integers(1, 5),
        priority=st.integers(-9, 9),
        tenant=WORDS,
        labels=LABELS,
        framework=NAMES,
        probe=st.sampled_from(["none", "ready", "infer"]),
    )
    return [
        {
            "name": name,
            "backend": draw(backends),
            "storageUri": f"s3://x/{name}",
            "footprints": draw(footprints()),
            **draw(optional),
        }
        for name in names
    ]


@st.composite
def shard_types(draw: st.DrawFn) -> list[dict[str, Any]]:
    optional = some(
        minCount=st.integers(0, 2),
        maxCount=st.integers(2, 9),
        maxModels=st.integers(1, 99),
        zone=WORDS,
        nodeSelector=NODE_LABELS,
        parallelLoads=st.integers(1, 4),
        extra=EXTRA,
        pricePerHour=st.sampled_from([0, 0.526, "1.25", 3]),
        provision=st.just("new"),
        overhead=some(cpu=st.just("250m"), memory=st.just("256Mi")),
    )
    uses = st.sampled_from(["aws-g4dn.xlarge", "gcp-g2-standard-4", "aws-m7i.2xlarge"])
    return [
        {"use": draw(uses), "name": f"type{index}", "group": f"group-{letter}", **draw(optional)}
        for index, letter in enumerate("abc"[: draw(st.integers(0, 3))])
    ]


T4 = st.fixed_dictionaries(
    {"class": st.just("nvidia-t4")}, optional={"foreign": st.just("1Gi"), "memory": st.just("15000Mi")}
)
CUT = st.fixed_dictionaries(
    {
        "mig": st.sampled_from([["3g.40gb", "3g.40gb"], ["2g.20gb", "1g.10gb"], ["7g.80gb"]]).map(
            lambda names: [{"class": f"nvidia-a100-80gb-{name}"} for name in names]
        )
    },
    optional={"class": st.just("nvidia-a100-80gb")},
)


@st.composite
def nodes(draw: st.DrawFn) -> list[dict[str, Any]]:
    optional = some(
        zone=WORDS, rack=WORDS, labels=NODE_LABELS, podsInUse=st.integers(0, 9), count=st.integers(1, 3)
    )
    allocatable = st.fixed_dictionaries(
        {"cpu": MILLI, "memory": BYTES}, optional={"pods": st.integers(0, 250)}
    )
    return [
        {
            "name": f"node{index}",
            "allocatable": draw(allocatable),
            "devices": draw(st.lists(st.one_of(T4, CUT), max_size=3)),
            **draw(optional),
        }
        for index in range(draw(st.integers(0, 2)))
    ]


POLICY = some(
    headroom=some(gpuMemory=RATIO, gpuTime=RATIO, cpu=st.just("4%"), memory=st.just("1%")),
    quantile=st.sampled_from(["p50", "p95"]),
    spread=st.sampled_from(["shard", "node", "none"]),
    tenants=st.sampled_from(["shared", "isolated"]),
    objective=st.sampled_from([["placed"], ["placed", "cost"], ["placed", "balance", "cost"]]),
    limits=some(maxCostPerHour=st.just(12.5), maxShards=st.integers(0, 99)),
)
CLUSTER = some(
    maxPodsPerNode=st.integers(1, 250),
    usablePodsPerNode=st.integers(0, 100),
    nodes=st.integers(0, 50),
    maxIPs=st.integers(0, 4096),
    maxConfigMapBytes=st.integers(1024, 1_000_000),
)
SPECS = st.fixed_dictionaries(
    {"shardTypes": shard_types(), "nodes": nodes(), "models": models()},
    optional={"policy": POLICY, "cluster": CLUSTER},
)


def text_of(spec: dict[str, Any]) -> str:
    return json.dumps(
        {
            "apiVersion": "shardpack.dev/v1alpha1",
            "kind": "Scenario",
            "metadata": {"name": "any", "namespace": "here"},
            "spec": spec,
        }
    )


@settings(max_examples=150)
@given(SPECS)
def test_what_is_written_is_read_as_the_same(spec: dict[str, Any]) -> None:
    scenario = parse_scenario(text_of(spec), file="any")
    assert parse_scenario(scenario_text(scenario), file="again") == scenario


TRANSFORMER = st.fixed_dictionaries(
    {"image": WORDS, "resources": st.fixed_dictionaries({"cpu": MILLI, "memory": BYTES})},
    optional={
        "args": st.lists(WORDS, max_size=2),
        "env": st.dictionaries(st.from_regex(r"[A-Z_]{1,9}", fullmatch=True), WORDS, max_size=2),
        "replicas": st.integers(1, 9),
        "pricePerHour": st.sampled_from([0, 0.526, "1.25"]),
    },
)


@settings(max_examples=60)
@given(models(), TRANSFORMER, st.data())
def test_transformers_are_written_and_read(
    named: list[dict[str, Any]], one: dict[str, Any], data: st.DataObject
) -> None:
    names = ["scale", "tokens"]
    for item in named:
        item.update(data.draw(some(transformer=st.sampled_from(names))))
    spec = {
        "shardTypes": [{"use": "aws-g4dn.xlarge", "name": "t", "group": "g"}],
        "transformers": [{"name": name, **one} for name in names],
        "models": named,
    }
    scenario = parse_scenario(text_of(spec), file="any")
    assert {item.name for item in scenario.transformers} == {
        m["transformer"] for m in named if "transformer" in m
    }
    assert parse_scenario(scenario_text(scenario), file="again") == scenario


MODEL = {
    "name": "m",
    "backend": "onnxruntime",
    "storageUri": "s3://x/m",
    "footprints": [{"class": "nvidia-t4"}],
}


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 takes for a number though YAML 1.1, which PyYAML writes, does not, as ``1e5``."""


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"),
    list("-+.0123456789"),
)


@settings(max_examples=60)
@given(SPECS)
@example({"shardTypes": [], "models": [{**MODEL, "labels": {"a": "1e100", "b": "1.5e3", "1e5": "x"}}]})
def test_yaml_says_the_same_as_json(spec: dict[str, Any]) -> None:
    scenario = parse_scenario(text_of(spec), file="any")
    as_yaml = yaml.dump(scenario_document(scenario), Dumper=_Dumper, allow_unicode=True)
    assert parse_scenario(as_yaml, file="again") == scenario

"""Scenarios with one thing wrong, its line marked HERE, and what is to be said about it."""

from __future__ import annotations

import textwrap

SOUND = """\
apiVersion: shardpack.dev/v1alpha1
kind: Scenario
metadata: {name: shop}
spec:
  shardTypes:
    - name: t4
      runtime: triton
      devices: {class: nvidia-t4}
      resources: {cpu: "4", memory: 16Gi}
      group: shop
  models:
    - name: shoes
      backend: onnxruntime
      storageUri: s3://shop/shoes
      footprints:
        - {class: nvidia-t4, gpuMemory: 500Mi}
"""


def changed(old: str, new: str) -> str:
    assert SOUND.count(old) == 1, old
    return SOUND.replace(old, new)


def with_model(**fields: str) -> str:
    """A second model after the sound one; fields as YAML."""
    known = {
        "name": "hats",
        "backend": "onnxruntime",
        "storageUri": "s3://shop/hats",
        "footprints": "[{class: nvidia-t4, gpuMemory: 1Gi}]",
    }
    lines = [f"{name}: {value}" for name, value in {**known, **fields}.items() if value]
    return SOUND + "    - " + "\n      ".join(lines) + "\n"


def with_spec(text: str) -> str:
    return SOUND + textwrap.indent(textwrap.dedent(text), "  ")


BROKEN = {
    "misspelled field": (
        changed("      group: shop", "      gruop: shop # HERE"),
        "spec.shardTypes[0].gruop",
        "unknown field 'gruop'; did you mean 'group'?",
    ),
    "unknown field of a short list": (
        changed("{class: nvidia-t4}", "{class: nvidia-t4, colour: red} # HERE"),
        "spec.shardTypes[0].devices.colour",
        "unknown field 'colour'; known: class, count, gpuMemory, gpuTime",
    ),
    "unknown transformer": (
        with_model(transformer="tokens # HERE")
        + "  transformers: [{name: token, image: x, resources: {cpu: 1, memory: 1Gi}}]\n",
        "spec.models[1].transformer",
        "'tokens'; did you mean 'token'?",
    ),
    "transformer of two groups": (
        with_model(transformer="tokens # HERE").replace(
            "      group: shop\n",
            "      group: shop\n    - {name: t4-large, runtime: triton, devices: {class: nvidia-t4},"
            ' resources: {cpu: "8", memory: 32Gi}, group: one}\n',
        )
        + "  transformers: [{name: tokens, image: x, resources: {cpu: 1, memory: 1Gi}}]\n",
        "spec.models[1].transformer",
        "'tokens' stands once for a group, and this model may come into one or shop",
    ),
    "variable of a transformer that is ours": (
        with_spec("""\
        transformers:
          - {name: t, image: x, env: {PREDICTOR_URL: y}, resources: {cpu: 1, memory: 1Gi}} # HERE
        """),
        "spec.transformers[0]",
        "PREDICTOR_URL is set by us",
    ),
    "long name of a transformer": (
        with_model(transformer="a" * 47)
        + "  transformers:\n"
        + f"    - {{name: {'a' * 47}, image: x, resources: {{cpu: 1, memory: 1Gi}}}} # HERE\n",
        "spec.transformers[0].name",
        "has 64 characters, and 63 is most",
    ),
    "source of models that is not read": (
        with_spec("""\
        modelsFrom:
          - tritonRepository: repo/ # HERE
        """),
        "spec.modelsFrom[0].tritonRepository",
        "`shardpack import triton` makes a scenario of one, to include",
    ),
    "required field missing": (
        changed("      runtime: triton\n", "").replace("- name: t4", "- name: t4 # HERE"),
        "spec.shardTypes[0].runtime",
        "is required",
    ),
    "doubled key": (
        changed("      backend: onnxruntime", "      backend: fil\n      backend: onnxruntime # HERE"),
        "spec.models[0].backend",
        "the field stands twice",
    ),
    "other version": (
        changed("v1alpha1", "v1alpha2 # HERE"),
        "apiVersion",
        "'shardpack.dev/v1alpha2' is not shardpack.dev/v1alpha1: it is of another version of shardpack",
    ),
    "misspelled kind": (
        changed("kind: Scenario", "kind: Scenaro # HERE"),
        "kind",
        "'Scenaro' is not Scenario; did you mean 'Scenario'?",
    ),
    "a plan": (changed("kind: Scenario", "kind: Plan # HERE"), "kind", "this is a plan"),
    "no kind": ("apiVersion: shardpack.dev/v1alpha1 # HERE\n", "kind", "is required: kind: Scenario"),
    "unknown suffix": (
        changed("gpuMemory: 500Mi}", "gpuMemory: 500MB} # HERE"),
        "spec.models[0].footprints[0].gpuMemory",
        "'500MB' has the unknown suffix 'MB'; known suffixes: Ki, Mi",
    ),
    "boolean as a quantity": (
        changed("gpuMemory: 500Mi}", "gpuMemory: true} # HERE"),
        "spec.models[0].footprints[0].gpuMemory",
        "expected an amount of memory such as 16Gi, found the boolean true",
    ),
    "negative quantity": (
        changed("gpuMemory: 500Mi}", "gpuMemory: -5Mi} # HERE"),
        "spec.models[0].footprints[0].gpuMemory",
        "'-5Mi' is not a quantity",
    ),
    "not a number": (
        with_model(footprints="[{class: nvidia-t4, gpuMemory: .nan}] # HERE"),
        "spec.models[1].footprints[0].gpuMemory",
        "is not a quantity",
    ),
    "quantity beyond int64": (
        changed("gpuMemory: 500Mi}", "gpuMemory: 9Ei} # HERE"),
        "spec.models[0].footprints[0].gpuMemory",
        "larger than 2^60 - 1",
    ),
    "p50 above p95": (
        changed("gpuMemory: 500Mi}", "cpu: {p50: 2, p95: 1}} # HERE"),
        "spec.models[0].footprints[0].cpu",
        "p50 (2) is above p95 (1)",
    ),
    "p95 alone": (
        changed("gpuMemory: 500Mi}", "cpu: {p95: 1}} # HERE"),
        "spec.models[0].footprints[0].cpu",
        "expected one quantity, or both p50 and p95",
    ),
    "fault inside an amount": (
        changed("gpuMemory: 500Mi}", "gpuMemory: {steady: {p50: x, p95: 1Gi}}} # HERE"),
        "spec.models[0].footprints[0].gpuMemory.steady.p50",
        "'x' is not a quantity",
    ),
    "load peak below steady": (
        changed("gpuMemory: 500Mi}", "gpuMemory: {steady: 2Gi, loadPeak: 1Gi}} # HERE"),
        "spec.models[0].footprints[0].gpuMemory.loadPeak",
        "is below steady at p50",
    ),
    "number in quotes": (
        with_model(replicas='"2" # HERE'),
        "spec.models[1].replicas",
        "expected a whole number, found the text '2'",
    ),
    "boolean as a number": (
        with_model(replicas="true # HERE"),
        "spec.models[1].replicas",
        "expected a whole number, found the boolean true",
    ),
    "fraction as a number": (
        with_model(replicas="1.5 # HERE"),
        "spec.models[1].replicas",
        "expected a whole number, found the number 1.5",
    ),
    "no replicas": (
        with_model(replicas="0 # HERE"),
        "spec.models[1].replicas",
        "expected at least 1, found the number 0",
    ),
    "too many replicas": (
        with_model(replicas="10001 # HERE"),
        "spec.models[1].replicas",
        "expected at most 10000",
    ),
    "null for text": (
        with_model(backend="null # HERE"),
        "spec.models[1].backend",
        "found nothing (null)",
    ),
    "model name in capitals": (
        with_model(name="Hats # HERE"),
        "spec.models[1].name",
        "'Hats' is not a model's name: lower-case letters",
    ),
    "model name with a dot": (
        with_model(name="hats.v2 # HERE"),
        "spec.models[1].name",
        "is not a model's name",
    ),
    "storage without a scheme": (
        with_model(storageUri="/models/hats # HERE"),
        "spec.models[1].storageUri",
        "is not a storage URI",
    ),
    "no footprints": (
        with_model(footprints="[] # HERE"),
        "spec.models[1].footprints",
        "expected at least 1 of them, found 0",
    ),
    "two models of one name": (
        with_model(name="shoes # HERE"),
        "spec.models[1].name",
        "there are two models called 'shoes'; the other is at s.yaml:12",
    ),
    "unknown backend": (
        with_model(backend="onnxruntme # HERE"),
        "spec.models[1].backend",
        "there is no backend 'onnxruntme'; did you mean 'onnxruntime'?",
    ),
    "unknown runtime": (
        changed("runtime: triton", "runtime: tritn # HERE"),
        "spec.shardTypes[0].runtime",
        "there is no runtime 'tritn'; did you mean 'triton'?",
    ),
    "unknown device class": (
        changed("{class: nvidia-t4}", "{class: nvidia-t5} # HERE"),
        "spec.shardTypes[0].devices.class",
        "there is no device class 'nvidia-t5'; did you mean 'nvidia-t4'?",
    ),
    "unknown device class of a footprint": (
        changed("{class: nvidia-t4, gpuMemory: 500Mi}", "{class: Nvidia-T4} # HERE"),
        "spec.models[0].footprints[0].class",
        "did you mean 'nvidia-t4'?",
    ),
    "unknown shard type of the catalogue": (
        changed("    - name: t4\n", "    - name: t4\n      use: aws-g4dn.xlage # HERE\n"),
        "spec.shardTypes[0].use",
        "did you mean 'aws-g4dn.xlarge'?",
    ),
    "two options for the same": (
        with_model(footprints="[{class: nvidia-t4}, {class: nvidia-t4}] # HERE"),
        "spec.models[1].footprints[1]",
        "a second footprint for class nvidia-t4, batch 1, instances 1",
    ),
    "GPU memory on a CPU": (
        with_model(footprints="[{class: cpu, gpuMemory: 1Gi}] # HERE"),
        "spec.models[1].footprints[0].gpuMemory",
        "'cpu' is a CPU: it has no GPU memory",
    ),
    "GPU time on a CPU": (
        with_model(footprints="[{class: cpu, gpuTime: 10m}] # HERE"),
        "spec.models[1].footprints[0].gpuTime",
        "give the time under cpu",
    ),
    "several CPUs in a shard": (
        changed("{class: nvidia-t4}", "{class: cpu, count: 2} # HERE"),
        "spec.shardTypes[0].devices.count",
        "a CPU shard has one device",
    ),
    "sidecars larger than the pod": (
        changed("      group: shop", '      overhead: {cpu: "5"} # HERE'),
        "spec.shardTypes[0].overhead.cpu",
        "the sidecars' cpu (5) is above the pod's (4)",
    ),
    "pod smaller than the idle server": (
        changed("memory: 16Gi}", "memory: 100Mi} # HERE"),
        "spec.shardTypes[0].resources.memory",
        "is less than the idle triton server takes",
    ),
    "GPU smaller than what is always used": (
        changed("{class: nvidia-t4}", "{class: nvidia-t4, gpuMemory: 500Mi} # HERE"),
        "spec.shardTypes[0].devices.gpuMemory",
        "no GPU memory is left for models",
    ),
    "minCount above maxCount": (
        changed("      group: shop", "      maxCount: 2\n      minCount: 3 # HERE"),
        "spec.shardTypes[0].minCount",
        "minCount (3) is above maxCount (2)",
    ),
    "existing shards without nodes": (
        changed("      group: shop", "      provision: existing # HERE"),
        "spec.shardTypes[0].provision",
        "the scenario lists none",
    ),
    "replicated pods on nodes": (
        changed("      group: shop", "      replicas: 2 # HERE")
        + "  nodes: [{name: n, allocatable: {cpu: 8, memory: 32Gi}}]\n",
        "spec.shardTypes[0].replicas",
        "a shard on nodes that exist has 1 pod, not 2",
    ),
    "group that is no InferenceService's name": (
        changed("group: shop", "group: 1shop # HERE"),
        "spec.shardTypes[0].group",
        "is not the name of a group of InferenceServices",
    ),
    "group that looks like a shard of another": (
        with_spec("""\
        # a second shard type
        """).replace(
            "      group: shop\n",
            "      group: shop\n"
            "    - {name: u, runtime: triton, devices: {class: cpu}, group: shop-1,"
            ' resources: {cpu: "1", memory: 2Gi}} # HERE\n',
        ),
        "spec.shardTypes[1].group",
        "'shop-1' is also the name of a shard of group 'shop'",
    ),
    "pin to no group": (
        with_model(pin="{shard: shap-1} # HERE"),
        "spec.models[1].pin.shard",
        "there is no group with a shard called 'shap-1'; did you mean 'shop'?",
    ),
    "pin to a device that shards do not have": (
        with_model(pin="{shard: shop-3, device: 1} # HERE"),
        "spec.models[1].pin.device",
        "shards of that group have devices 0 to 0",
    ),
    "probe that the agent does not know": (
        with_model(probe="inference # HERE"),
        "spec.models[1].probe",
        "'inference' is not one of none, ready, infer; did you mean 'infer'?",
    ),
    "more devices than any shard has": (
        with_model(devicesPerReplica="2 # HERE"),
        "spec.models[1].devicesPerReplica",
        "2 devices, but no shard type has more than 1",
    ),
    "together with other replicas": (
        with_model(together="x", replicas="2 # HERE").replace(
            "    - name: shoes\n", "    - name: shoes\n      together: x\n"
        ),
        "spec.models[1].replicas",
        "models together as 'x' need equal replicas: 2 here, 1 of 'shoes'",
    ),
    "together across isolated tenants": (
        with_model(together="x", tenant="b # HERE").replace(
            "    - name: shoes\n", "    - name: shoes\n      together: x\n      tenant: a\n"
        )
        + "  policy: {tenants: isolated}\n",
        "spec.models[1].tenant",
        "belongs to another tenant, and tenants are isolated",
    ),
    "headroom above all": (
        with_spec("policy: {headroom: {gpuMemory: 5}} # HERE\n"),
        "spec.policy.headroom.gpuMemory",
        "it is above 100%",
    ),
    "unknown choice": (
        with_spec("policy: {spread: zones} # HERE\n"),
        "spec.policy.spread",
        "'zones' is not one of shard, node, zone, none; did you mean 'zone'?",
    ),
    "objective that does not start with placed": (
        with_spec("policy: {objective: [cost, placed]} # HERE\n"),
        "spec.policy.objective",
        "has to start with 'placed'",
    ),
    "objective named twice": (
        with_spec("policy: {objective: [placed, cost, cost]} # HERE\n"),
        "spec.policy.objective[2]",
        "'cost' stands twice",
    ),
    "spread over zones that nobody names": (
        with_model(replicas="2") + "  policy: {spread: zone} # HERE\n",
        "spec.policy.spread",
        "no shard type and no node has a zone",
    ),
    "impossible MIG geometry": (
        with_spec("""\
        nodes:
          - name: mig
            allocatable: {cpu: 8, memory: 64Gi}
            devices: # HERE
              - mig: [{class: nvidia-a100-80gb-4g.40gb}, {class: nvidia-a100-80gb-4g.40gb}]
        """),
        "spec.nodes[0].devices",
        "NVIDIA-A100-SXM4-80GB cannot be cut into 4g.40gb, 4g.40gb at the same time",
    ),
    "unknown class of a node's GPU": (
        with_spec("""\
        nodes:
          - name: n
            allocatable: {cpu: 8, memory: 64Gi}
            devices:
              - {class: nvidia-t4}
              - {class: nvidia-t44} # HERE
        """),
        "spec.nodes[0].devices[1].class",
        "there is no device class 'nvidia-t44'; did you mean 'nvidia-t4'?",
    ),
    "instances of another GPU": (
        with_spec("""\
        nodes:
          - name: n
            allocatable: {cpu: 8, memory: 64Gi}
            devices:
              - {class: nvidia-a30, mig: [{class: nvidia-a100-80gb-1g.10gb}]} # HERE
        """),
        "spec.nodes[0].devices[0].class",
        "'nvidia-a30' is a NVIDIA-A30, its instances are of NVIDIA-A100-SXM4-80GB",
    ),
    "GPU of no class": (
        with_spec("""\
        nodes:
          - {name: n, allocatable: {cpu: 8, memory: 64Gi}, devices: [{uuid: GPU-1}]} # HERE
        """),
        "spec.nodes[0].devices[0]",
        "needs its class, or the instances that it is cut into under mig",
    ),
    "GPU class without memory": (
        with_spec("catalog: {deviceClasses: [{name: toy}]} # HERE\n"),
        "spec.catalog.deviceClasses[0]",
        "a GPU needs memory",
    ),
    "generator without backends": (
        with_spec("""\
        modelsFrom:
          - generate: {prefix: g, count: 5, backends: {}, footprints: [{class: cpu}]} # HERE
        """),
        "spec.modelsFrom[0].generate.backends",
        "expected at least 1 of them, found 0",
    ),
    "GPU on two nodes": (
        with_spec("""\
        nodes:
          - {name: a, allocatable: {cpu: 8, memory: 64Gi}, devices: [{class: nvidia-t4, uuid: GPU-1}]}
          - {name: b, allocatable: {cpu: 8, memory: 64Gi}, devices: [{class: nvidia-t4, uuid: GPU-1}]} # HERE
        """),
        "spec.nodes[1].devices",
        "GPU GPU-1 is also on node 'a'",
    ),
    "price that is no price": (
        changed("      group: shop", "      pricePerHour: cheap # HERE"),
        "spec.shardTypes[0].pricePerHour",
        "'cheap' is not a price",
    ),
    "list for a mapping": (
        with_spec("policy: [spread] # HERE\n"),
        "spec.policy",
        "expected a mapping, found a list",
    ),
    "mapping for a list": (
        changed("  models:\n", "  models: # HERE\n").partition("    - name: shoes")[0] + "    shoes: {}\n",
        "spec.models",
        "expected a list, found a mapping",
    ),
    "no models": (
        SOUND.partition("  models:")[0].replace("spec:", "spec: # HERE"),
        "spec.models",
        "is required (or modelsFrom)",
    ),
    "generator without its parameter": (
        with_spec("""\
        modelsFrom:
          - generate:
              prefix: g
              count: 3
              backends: {fil: 1}
              memory: {distribution: lognormal, median: 1Gi} # HERE
              footprints: [{class: cpu}]
        """),
        "spec.modelsFrom[0].generate.memory.sigma",
        "is required by the distribution lognormal",
    ),
    "generator with a parameter of another distribution": (
        with_spec("""\
        modelsFrom:
          - generate:
              prefix: g
              count: 3
              backends: {fil: 1}
              memory: {distribution: zipf, max: 1Gi, sigma: 1} # HERE
              footprints: [{class: cpu}]
        """),
        "spec.modelsFrom[0].generate.memory.sigma",
        "is no parameter of zipf; its parameters: exponent, max, min, ranks",
    ),
    "generator of too many": (
        with_spec("""\
        modelsFrom:
          - generate: {prefix: g, count: 5000001, backends: {fil: 1}, footprints: [{class: cpu}]} # HERE
        """),
        "spec.modelsFrom[0].generate.count",
        "expected at most 5000000",
    ),
    "generator of an unknown backend": (
        with_spec("""\
        modelsFrom:
          - generate: {prefix: g, count: 5, backends: {flil: 1}, footprints: [{class: cpu}]} # HERE
        """),
        "spec.modelsFrom[0].generate.backend",
        "there is no backend 'flil'; did you mean 'fil'?",
    ),
    "two sources in one entry": (
        with_spec("""\
        modelsFrom:
          - {table: a.csv, trainedModels: b/} # HERE
        """),
        "spec.modelsFrom[0]",
        "expected exactly one of table, trainedModels and generate",
    ),
    "tag of another language": (
        with_model(tenant="!!python/name:os.system x # HERE"),
        "spec.models[1].tenant",
        "the tag 'tag:yaml.org,2002:python/name:os.system' is not allowed",
    ),
}


UNREADABLE = {
    "empty": ("", "is empty", None),
    "only comments": ("# nothing\n", "is empty", None),
    "text": (
        "hello\n",
        "is not a scenario: expected a mapping with apiVersion and kind, found only 'hello'",
        1,
    ),
    "list": ("- a\n", "found a list", 1),
    "several documents": (SOUND + "---\n" + SOUND, "holds 2 documents; one is expected", None),
    "tab": ("spec:\n\tmodels: []\n", "YAML indents with spaces, not tabs", 2),
    "json without a comma": ('{\n "kind": "Scenario"\n "spec": {}\n}\n', "is not valid JSON: Expecting", 3),
    "json cut off": ('{"kind": "Scenario",\n "spec": {"models": [', "the file is cut off", 2),
    "unclosed bracket": ("spec: [1, 2\n", "is not valid YAML", 2),
    "nested without end": ("[" * 100_000 + "]" * 100_000, "is nested deeper than 200 levels", None),
    "anchor in itself": ("spec: &a [*a]\n", "an anchor refers to itself", 1),
}

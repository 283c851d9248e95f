"""What a running Triton server says of its models, asked without the agent's own client."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

from planner.rehearsal.triton import TritonProcess


def post(server: TritonProcess, path: str) -> bytes:
    request = urllib.request.Request(f"{server.http_url}{path}", data=b"{}", method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        body: bytes = answer.read()
        return body


def ready(server: TritonProcess) -> set[str]:
    rows: list[dict[str, Any]] = json.loads(post(server, "/v2/repository/index"))
    return {row["name"] for row in rows if row.get("state") == "READY"}


def times_loaded(server: TritonProcess) -> Counter[str]:
    return Counter(re.findall(r"successfully loaded '([^']+)'", server.log.read_text()))


def infers(server: TritonProcess, name: str) -> tuple[int, str]:
    """Return status and the first number of an inference on one FP16 number, or the error."""
    head = json.dumps(
        {
            "inputs": [
                {"name": "X", "datatype": "FP16", "shape": [1, 1], "parameters": {"binary_data_size": 2}}
            ]
        }
    ).encode()
    request = urllib.request.Request(
        f"{server.http_url}/v2/models/{name}/infer",
        data=head + bytes(2),
        headers={"Inference-Header-Content-Length": str(len(head))},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, str(json.loads(answer.read())["outputs"][0]["data"][0])
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()

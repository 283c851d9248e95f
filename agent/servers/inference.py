"""Whether a loaded model answers: its own ready endpoint, and a test inference.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import RefusedError, UnreachableError
from agent.servers.http import Answer, Http, refusal

# Bytes of an element; text (BYTES) is a length of four bytes and no content.
_SIZES = {
    **dict.fromkeys(("BOOL", "UINT8", "INT8"), 1),
    **dict.fromkeys(("UINT16", "INT16", "FP16", "BF16"), 2),
    **dict.fromkeys(("UINT32", "INT32", "FP32", "BYTES"), 4),
    **dict.fromkeys(("UINT64", "INT64", "FP64"), 8),
}
_LARGEST = 16 * 2**20  # of one test request; a model that takes more is not tested with zeros
_LONGEST_ANSWER = 4096  # only an error's text is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A test inference: its body, and the headers that it needs."""

    body: bytes
    headers: Mapping[str, str]


def find_fault(http: Http, name: str, *, infer: bool, given: bytes | None, binary: bool) -> str | None:
    """Return what is wrong with a loaded model; None where it answers, or where that cannot be told.

    An inference counts as failed if it is answered by 500 twice: other errors say that the request does not
    suit the model, and a late answer or none may be a server that has much to do.

    Parameters
    ----------
    http, name
        The server and the model.
    infer
        Whether to ask for an inference, not only for the ready endpoint.
    given
        The body of the test request; None makes one of zeros from the model's metadata.
    binary
        Whether the server takes tensors as bytes (Triton's extension).
    """
    try:
        ready = http.ask("GET", f"/v2/models/{name}/ready", read_s=http.timeouts.control_s)
        if ready.status in (400, 404, 503):
            return f"it is loaded and its ready endpoint says {ready.status}"
        if not infer or ready.status != 200:
            return None
        request = Request(body=given, headers={}) if given is not None else _made(http, name, binary=binary)
        if request is None:
            return None
        answers = [_infer(http, name, request)]
        if answers[0].status == 500:
            answers.append(_infer(http, name, request))
    except (UnreachableError, RefusedError):
        return None
    if any(answer.status != 500 for answer in answers):
        return None
    return f"a test inference failed: {refusal(answers[-1])}"


def _infer(http: Http, name: str, request: Request) -> Answer:
    return http.ask(
        "POST",
        f"/v2/models/{name}/infer",
        read_s=http.timeouts.infer_s,
        body=request.body,
        headers=request.headers,
        most_bytes=_LONGEST_ANSWER,
    )


def _made(http: Http, name: str, *, binary: bool) -> Request | None:
    document = http.get(f"/v2/models/{name}")
    inputs = document.get("inputs") if isinstance(document, dict) else None
    return zeros(inputs, binary=binary) if isinstance(inputs, list) else None


def zeros(inputs: list[Any], *, binary: bool) -> Request | None:
    """Return a request of zeros and empty texts; None where there are no inputs or none can be made.

    Parameters
    ----------
    inputs
        As the model's metadata lists them; a dimension that is free becomes 1.
    binary
        Whether the tensors may be sent as bytes, the only way for 16 bit floats.
    """
    heads: list[dict[str, Any]] = []
    total_bytes = 0
    for entry in inputs:
        try:
            name, datatype = str(entry["name"]), str(entry["datatype"])
            shape = [max(1, int(dim)) for dim in entry["shape"]]
            size = _SIZES[datatype] * math.prod(shape)
        except (KeyError, TypeError, ValueError):
            return None
        total_bytes += size
        if total_bytes > _LARGEST or (not binary and datatype in ("FP16", "BF16")):
            return None
        content: dict[str, Any] = (
            {"parameters": {"binary_data_size": size}}
            if binary
            else {"data": [_zero(datatype)] * math.prod(shape)}
        )
        heads.append({"name": name, "datatype": datatype, "shape": shape, **content})
    if not heads:
        return None
    head = json.dumps({"inputs": heads}).encode()
    if not binary:
        return Request(body=head, headers={})
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return Request(body=head + bytes(total_bytes), headers=headers)


def _zero(datatype: str) -> object:
    if datatype == "BYTES":
        return ""
    return False if datatype == "BOOL" else 0.0 if datatype.startswith("FP") else 0

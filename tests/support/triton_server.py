"""What a running Triton server says of its models, asked without the agent's own client."""

from __future__ import annotations

import json
import re
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

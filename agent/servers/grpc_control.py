"""Triton's load and unload over gRPC. The agent's only home of grpcio, which is optional.

A load over HTTP holds one of the server's HTTP threads until it ends, and with it every connection that this
thread serves; over gRPC it holds nobody. Messages are written by hand: each is one text field.
https://github.com/triton-inference-server/common/blob/main/protobuf/grpc_service.proto
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.errors import (
    BrokenConnectionError,
    NoConnectionError,
    RefusedError,
    Retry,
    SettingsError,
    UnansweredError,
    UnreachableError,
)
from agent.servers.headers import NO_HEADERS, Headers
from agent.servers.http import LONGEST_MESSAGE

_SERVICE = "/inference.GRPCInferenceService"
_MODEL_NAME_FIELD = 2  # of RepositoryModelLoadRequest and RepositoryModelUnloadRequest

# What Triton's codes are over HTTP; https://grpc.io/docs/guides/status-codes/
_STATUS: dict[str, tuple[int, Retry]] = {
    "INVALID_ARGUMENT": (400, "late"),  # a load that failed, whatever the reason
    "UNAUTHENTICATED": (401, "late"),
    "PERMISSION_DENIED": (403, "late"),
    "NOT_FOUND": (404, "rarely"),
    "RESOURCE_EXHAUSTED": (429, "soon"),
    "UNIMPLEMENTED": (501, "rarely"),
}
_UNANSWERED: dict[str, type[UnreachableError]] = {
    "UNAVAILABLE": BrokenConnectionError,
    "DEADLINE_EXCEEDED": UnansweredError,
    "CANCELLED": UnreachableError,
}

# What gRPC says, with the code of a connection that broke, where there was none.
_NOT_CONNECTED = "failed to connect"

# Between two tries to connect a channel fails every call at once: for not longer than this. The proxy of the
# environment is for storage: the server is in the same pod.
_OPTIONS = (("grpc.max_reconnect_backoff_ms", 1000), ("grpc.enable_http_proxy", 0))


class GrpcControl:
    """Load and unload over gRPC.

    Parameters
    ----------
    target
        ``host:port``, or ``grpcs://host:port`` for TLS.
    ca
        File of the certificates that the server is judged by; None takes the system's.
    headers
        Sent as metadata with every call.

    Raises
    ------
    SettingsError
        grpcio is not installed, or ``ca`` cannot be read.
    """

    def __init__(self, target: str, *, ca: Path | None = None, headers: Headers = NO_HEADERS) -> None:
        try:
            import grpc
        except ImportError as error:
            raise SettingsError("--server-grpc-url needs grpcio, the extra shardpack[grpc]") from error
        self._grpc: Any = grpc
        self._headers = headers
        if target.startswith("grpcs://"):
            channel = grpc.secure_channel(
                target.removeprefix("grpcs://"), _credentials(grpc, ca), options=_OPTIONS
            )
        else:
            channel = grpc.insecure_channel(target.removeprefix("grpc://"), options=_OPTIONS)
        self._live = channel.unary_unary(f"{_SERVICE}/ServerLive")
        self._load = channel.unary_unary(f"{_SERVICE}/RepositoryModelLoad")
        self._unload = channel.unary_unary(f"{_SERVICE}/RepositoryModelUnload")

    def load(self, name: str, *, timeout_s: float) -> None:
        """Load a model; returns when it serves."""
        self._call(self._load, named(name), timeout_s)

    def unload(self, name: str, *, timeout_s: float) -> None:
        """Ask for an unload."""
        self._call(self._unload, named(name), timeout_s)

    def live(self, *, timeout_s: float) -> None:
        """Return if the port answers; a connection that is not there is waited for."""
        try:
            self._call(self._live, b"", timeout_s)
        except NoConnectionError as error:
            try:
                self._call(self._live, b"", timeout_s, wait=True)
            except UnreachableError:
                raise error from None  # it says why; the second only that time ran out

    def _call(self, method: Any, message: bytes, timeout_s: float, *, wait: bool = False) -> None:
        metadata = tuple((key.lower(), value) for key, value in self._headers.current().items())
        try:
            method(message, timeout=timeout_s, metadata=metadata, wait_for_ready=wait)
        except self._grpc.RpcError as error:
            code, text = error.code().name, str(error.details())[:LONGEST_MESSAGE]
            if code in _UNANSWERED:
                unsent = code == "UNAVAILABLE" and _NOT_CONNECTED in text.lower()
                kind = NoConnectionError if unsent else _UNANSWERED[code]
                raise kind(f"gRPC {code}: {text}") from error
            status, retry = _STATUS.get(code, (500, "late"))
            raise RefusedError(status, text, retry=retry) from error


def named(name: str) -> bytes:
    """Return the message whose field 2 is a model's name.

    https://protobuf.dev/programming-guides/encoding/
    """
    text = name.encode()
    length, size = len(text), bytearray()
    while length >= 0x80:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes([_MODEL_NAME_FIELD << 3 | 2]) + bytes(size) + text


def _credentials(grpc: Any, ca: Path | None) -> Any:
    try:
        return grpc.ssl_channel_credentials(None if ca is None else ca.read_bytes())
    except OSError as error:
        raise SettingsError(f"--server-ca: {ca}: {error.strerror}") from error

"""Requests to the API server, one at a time: authentication, time-outs, errors."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import urllib3

from planner.cluster.answers import error_of
from planner.errors import ForbiddenError, UnavailableError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_LOG = logging.getLogger(__name__)

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
"""A header ``Warning`` of the API: code, agent and quoted text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: ``query`` without what is None, ``body`` as JSON (None sends none)."""

    method: Method
    path: str
    query: Mapping[str, str | None]
    body: Any = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """Sends requests; its parameters are those of ``Kube``."""

    api: ApiClient
    timeout_s: float
    guard: Callable[[], None] | None
    on_warning: Callable[[str], None] | None

    def send(self, request: Request) -> bytes:
        """Return the body of a good answer.

        Raises
        ------
        ClusterError
            Any other answer, or none.
        """
        answer = self.open(request, read_timeout_s=self.timeout_s)
        return _read(answer)

    def open(self, request: Request, *, read_timeout_s: float) -> urllib3.BaseHTTPResponse:
        """Return a good answer whose body is still to be read.

        Raises
        ------
        ClusterError
            Any other answer, or none.
        """
        if self.guard is not None and request.method != "GET":
            self.guard()
        answer = self._exchange(request, timeouts_s=(self.timeout_s, read_timeout_s))
        if answer.status >= 300:
            raise error_of(answer.status, _read(answer), retry_after=answer.headers.get("Retry-After"))
        for text in _warnings(answer):
            self._tell(text)
        return answer

    def _exchange(self, request: Request, *, timeouts_s: tuple[float, float]) -> urllib3.BaseHTTPResponse:
        from kubernetes.client import ApiException
        from kubernetes.config import ConfigException

        query = [(key, value) for key, value in request.query.items() if value is not None]
        headers = {"Accept": "application/json"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        try:
            # The body is not given here: it would be walked through for objects of the library's own classes.
            method, url, headers, *_ = self.api.param_serialize(
                request.method, request.path, {}, query, headers, auth_settings=["BearerToken"]
            )
            answer = self.api.call_api(method, url, headers, request.body, _request_timeout=timeouts_s)
        except ConfigException as error:
            raise ForbiddenError(f"no credentials: {error}") from error
        except urllib3.exceptions.ReadTimeoutError as error:
            raise UnavailableError(f"no answer from the server in {timeouts_s[1]:g} s: {error}") from error
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            reason = ": ".join(str(getattr(error, "reason", None) or error).splitlines())
            raise UnavailableError(f"Unable to connect to the server: {reason}") from error
        response: urllib3.BaseHTTPResponse = answer.response
        return response

    def _tell(self, text: str) -> None:
        if self.on_warning is None:
            _LOG.warning("the API server warns", extra={"warning": text})
        else:
            self.on_warning(text)


def _read(answer: urllib3.BaseHTTPResponse) -> bytes:
    """Return the rest of an answer; its connection goes back to the pool."""
    try:
        return answer.data
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise UnavailableError(f"the server's answer broke off: {error}") from error


def _warnings(answer: urllib3.BaseHTTPResponse) -> list[str]:
    """Return the texts of the headers ``Warning``."""
    found = [text for header in answer.headers.getlist("Warning") for text in _WARNING.findall(header)]
    return [re.sub(r"\\(.)", r"\1", text) for text in found]

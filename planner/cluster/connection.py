"""Which API server, and as whom: a kubeconfig or the service account of a pod."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from planner.cluster.client import Kube
from planner.errors import Fault, InputError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's token, CA and namespace."""

_CONNECTIONS = 32
"""Kept open for threads of ours; more are made when needed and not kept. A controller has 8 watches open, and
up to 11 requests under way beside."""


def connect(
    *, kubeconfig: str | Path | None = None, context: str | None = None, timeout_s: float = 30.0
) -> Kube:
    """Return a client for a cluster; nothing is sent yet.

    Parameters
    ----------
    kubeconfig
        A file; None takes ``$KUBECONFIG`` or ``~/.kube/config``, and the service account where there is
        neither and the process runs in a pod.
    context
        A context of the kubeconfig; None takes its current one.
    timeout_s
        The longest that any request may take to be answered, watches excepted.

    Raises
    ------
    InputError
        No kubeconfig, or one that does not say which server.
    """
    from kubernetes.client import ApiClient, Configuration

    configuration = Configuration()
    if kubeconfig is None and context is None and _in_cluster():
        namespace = load_service_account(configuration, SERVICE_ACCOUNT)
    else:
        namespace = _load_kubeconfig(configuration, kubeconfig, context)
    configuration.connection_pool_maxsize = _CONNECTIONS
    configuration.retries = False  # a write that is sent twice by itself looks like someone else's
    configuration.keep_alive = True  # a watch is silent for minutes: find out when the other side has died
    return Kube(ApiClient(configuration), namespace=namespace, timeout_s=timeout_s)


def _in_cluster() -> bool:
    """Return whether only the service account is there to log in with."""
    paths = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if any(path.expanduser().exists() for path in paths or [Path("~/.kube/config")]):
        return False
    return (SERVICE_ACCOUNT / "token").exists()


def load_service_account(configuration: Any, folder: Path) -> str:
    """Load a pod's service account into a configuration, and return the pod's namespace.

    Parameters
    ----------
    configuration
        The official client's; its token is read again as it changes.
    folder
        Where token, CA and namespace are.

    Raises
    ------
    InputError
        One of them, or the server's address in the environment, is missing.
    """
    from kubernetes.config import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    try:
        token, ca = str(folder / "token"), str(folder / "ca.crt")
        InClusterConfigLoader(token_filename=token, cert_filename=ca).load_and_set(configuration)
        return (folder / "namespace").read_text(encoding="utf-8").strip()
    except (ConfigException, OSError) as error:
        raise InputError([Fault(path="", message=f"the pod's service account: {error}")]) from error


def _load_kubeconfig(configuration: Any, kubeconfig: str | Path | None, context: str | None) -> str:
    """Load a kubeconfig and return the namespace of the context."""
    import yaml
    from kubernetes.config import ConfigException, list_kube_config_contexts, load_kube_config

    file = _kubeconfig_paths(kubeconfig)
    try:
        load_kube_config(
            config_file=file, context=context, client_configuration=configuration, persist_config=False
        )
        contexts, current = list_kube_config_contexts(config_file=file)
    except (ConfigException, yaml.YAMLError, OSError, ValueError) as error:
        reason = str(error).strip() or type(error).__name__
        raise _no_cluster(file, reason) from error
    except (TypeError, KeyError, AttributeError) as error:  # it holds lists or texts where maps are expected
        raise _no_cluster(file, f"is not a kubeconfig ({error})") from error
    if not _is_address(configuration.host):
        message = f"the server of the context is {configuration.host!r}; give one as https://host:6443"
        raise _no_cluster(file, message)
    chosen = current if context is None else next(item for item in contexts if item["name"] == context)
    missing = _missing_credentials(configuration, file, str(chosen["context"].get("user") or ""))
    if missing:
        raise _no_cluster(file, f"context {chosen['name']!r}: {missing}")
    return str(chosen["context"].get("namespace") or "default")


def _missing_credentials(configuration: Any, file: str, name: str) -> str:
    """Return what is missing of a context's user, which the client would pass over; or nothing."""
    from kubernetes.config.kube_config import KubeConfigMerger

    users = KubeConfigMerger(file).config.value.get("users") or []
    user = next((item["user"] or {} for item in users if item["name"] == name), None)
    if name and user is None:
        return f"there is no user {name!r}"
    if configuration.api_key or configuration.cert_file or configuration.username:
        return ""
    if user is None or "exec" not in user:
        return ""
    return f"{user['exec']['command']!r} is to give the credentials of {name!r}, and gave none"


def _kubeconfig_paths(kubeconfig: str | Path | None) -> str:
    """Return the files to read, joined as ``$KUBECONFIG`` joins them: at least one is there."""
    if kubeconfig is not None:
        if not Path(kubeconfig).expanduser().is_file():
            raise InputError([Fault(path="", file=str(kubeconfig), message="there is no such kubeconfig")])
        return str(kubeconfig)
    files = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    if not any(Path(part).expanduser().exists() for part in files.split(os.pathsep) if part):
        message = "there is no such kubeconfig; name one with --kubeconfig or $KUBECONFIG"
        raise InputError([Fault(path="", file=files, message=message)])
    return files


def _is_address(host: Any) -> bool:
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        url = parse_url(host)
    except (LocationParseError, TypeError, AttributeError):
        return False
    return url.scheme in ("http", "https") and bool(url.host)


def _no_cluster(file: str, reason: str) -> InputError:
    return InputError([Fault(path="", file=file, message=f"no cluster to talk to: {reason}")])

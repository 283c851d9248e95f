"""Kinds of objects and where the API keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of object.

    Parameters
    ----------
    group
        API group; empty for the core group.
    version
        As ``v1``.
    plural
        The name in paths, as ``configmaps``.
    kind
        As ``ConfigMap``.
    namespaced
        Whether its objects live in namespaces.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """``apps/v1``, or ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """``deployments.apps``, as in messages of the API server."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(
        self, *, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Return the path of the collection, of one object, or of a part of it.

        Parameters
        ----------
        namespace
            None for all namespaces, or for what lives in none.
        name, subresource
            None for the collection and for the object itself.

        Raises
        ------
        ValueError
            A single object of a namespaced kind without its namespace, or a namespace for any other kind.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self.full_name} live in no namespace, and {namespace!r} was given")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self.full_name} {name!r}: in which namespace?")
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        parts += ["namespaces", quote(namespace, safe="")] if namespace else []
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)


NAMESPACES = Resource(group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False)
NODES = Resource(group="", version="v1", plural="nodes", kind="Node", namespaced=False)
PODS = Resource(group="", version="v1", plural="pods", kind="Pod")
CONFIG_MAPS = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
SERVICES = Resource(group="", version="v1", plural="services", kind="Service")
SERVICE_ACCOUNTS = Resource(group="", version="v1", plural="serviceaccounts", kind="ServiceAccount")
DEPLOYMENTS = Resource(group="apps", version="v1", plural="deployments", kind="Deployment")
POD_DISRUPTION_BUDGETS = Resource(
    group="policy", version="v1", plural="poddisruptionbudgets", kind="PodDisruptionBudget"
)
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")
EVENTS = Resource(group="events.k8s.io", version="v1", plural="events", kind="Event")
OWN_ACCESS_REVIEWS = Resource(
    group="authorization.k8s.io",
    version="v1",
    plural="selfsubjectaccessreviews",
    kind="SelfSubjectAccessReview",
    namespaced=False,
)
HTTP_ROUTES = Resource(group="gateway.networking.k8s.io", version="v1", plural="httproutes", kind="HTTPRoute")
INFERENCE_SERVICES = Resource(
    group="serving.kserve.io", version="v1beta1", plural="inferenceservices", kind="InferenceService"
)
TRAINED_MODELS = Resource(
    group="serving.kserve.io", version="v1alpha1", plural="trainedmodels", kind="TrainedModel"
)

"""Who may do what: tokens are users, and Roles and their bindings are those that are stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.api_server.refusals import Object, RefusalError, qualified
from tests.support.api_server.storage import Storage
from tests.support.api_server.targets import Request, Target

MASTERS = "system:masters"
"""The group that may do everything."""

_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What someone wants to do; empty strings where they do not apply, or where nobody asks for the user."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    user: str = ""


def service_account(namespace: str, name: str) -> User:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(name=f"system:serviceaccount:{namespace}:{name}", groups=groups)


class Access:
    """Authentication by bearer tokens and authorization by RBAC.

    Whoever sends no token is ``system:masters`` while ``open_door`` is set, and nobody otherwise.
    """

    def __init__(self, storage: Storage, *, open_door: bool) -> None:
        self._storage = storage
        self._open = open_door
        self._tokens: dict[str, User] = {}

    def admit(self, token: str, user: User) -> None:
        self._tokens[token] = user

    def user_of(self, request: Request) -> User:
        header = request.headers.get("authorization", "")
        token = header.partition(" ")[2].strip()
        if not token and self._open:
            return User(name="kubernetes-admin", groups=(MASTERS, "system:authenticated"))
        if token not in self._tokens:
            raise RefusalError(401, "Unauthorized", "Unauthorized")
        return self._tokens[token]

    def check(self, request: Request, target: Target) -> None:
        """Refuse what the sender of a request may not do."""
        user = self.user_of(request)
        deed = deed_of(request, target)
        if self._may(user, deed):
            return
        what = qualified(deed.group, target.kind.plural)
        named = f'{what} "{deed.name}"' if deed.name else what
        where = f'in the namespace "{deed.namespace}"' if deed.namespace else "at the cluster scope"
        raise RefusalError(
            403,
            "Forbidden",
            f'{named} is forbidden: User "{user.name}" cannot {deed.verb} resource "{deed.resource}" in API '
            f'group "{deed.group}" {where}',
            details={"name": deed.name, "group": deed.group, "kind": target.kind.plural},
        )

    def reviewed(self, request: Request) -> Object:
        """Answer a SelfSubjectAccessReview: whether its sender may do what it names."""
        review = request.content()
        asked = review["spec"]["resourceAttributes"]
        deed = Deed(**{key: asked.get(key, "") for key in ("verb", "group", "resource", "namespace", "name")})
        return {**review, "status": {"allowed": self._may(self.user_of(request), deed)}}

    def _may(self, user: User, deed: Deed) -> bool:
        return MASTERS in user.groups or any(
            _allows(rule, deed) for rule in self._rules(user, deed.namespace)
        )

    def _rules(self, user: User, namespace: str) -> Iterator[Object]:
        for entry in self._storage.table((_RBAC, "clusterrolebindings")).entries.copy().values():
            if _binds(entry.object, user):
                yield from self._role_rules(entry.object["roleRef"], "")
        for place, entry in self._storage.table((_RBAC, "rolebindings")).entries.copy().items():
            if place[0] == namespace and namespace and _binds(entry.object, user):
                yield from self._role_rules(entry.object["roleRef"], namespace)

    def _role_rules(self, reference: Object, namespace: str) -> list[Object]:
        cluster = reference["kind"] == "ClusterRole"
        table = (_RBAC, "clusterroles" if cluster else "roles")
        entry = self._storage.get(table, ("" if cluster else namespace, reference["name"]))
        return list(entry.object.get("rules") or ()) if entry else []


def deed_of(request: Request, target: Target) -> Deed:
    named = bool(target.name)
    verbs = {
        "GET": "get" if named else "list",
        "POST": "create",
        "PUT": "update",
        "PATCH": "patch",
        "DELETE": "delete" if named else "deletecollection",
    }
    verb = "watch" if request.method == "GET" and request.is_set("watch") else verbs[request.method]
    resource = f"{target.kind.plural}/{target.subresource}" if target.subresource else target.kind.plural
    return Deed(
        verb=verb,
        group=target.kind.group,
        resource=resource,
        namespace=target.namespace if target.kind.plural != "namespaces" else "",
        name=target.name,
    )


def _binds(binding: Object, user: User) -> bool:
    for subject in binding.get("subjects") or ():
        match subject["kind"]:
            case "User":
                found = subject["name"] == user.name
            case "Group":
                found = subject["name"] in user.groups
            case _:
                found = user.name == f"system:serviceaccount:{subject.get('namespace')}:{subject['name']}"
        if found:
            return True
    return False


def _allows(rule: Object, deed: Deed) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        _has(rule.get("verbs"), deed.verb)
        and _has(rule.get("apiGroups"), deed.group)
        and (_has(rule.get("resources"), deed.resource) or _any_part(rule.get("resources"), deed.resource))
        and (not names or deed.name in names)
    )


def _has(values: list[str] | None, wanted: str) -> bool:
    return bool(values) and ("*" in (values or ()) or wanted in (values or ()))


def _any_part(values: list[str] | None, resource: str) -> bool:
    """Whether ``*/status`` covers ``pods/status``."""
    part = resource.partition("/")[2]
    return bool(part) and f"*/{part}" in (values or ())

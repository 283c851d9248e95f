"""A scenario while it is put together: domain values that remember where they stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from planner.domain.fleet import Cluster, Node, ShardType, Transformer
from planner.domain.model import Model
from planner.domain.policy import Policy
from planner.scenario.catalogue import Catalogue
from planner.scenario.documents import Document, Loc

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Located(Generic[T]):
    """A value and its place in a document; generated models share the place of their generator."""

    value: T
    document: Document
    loc: Loc


@dataclass(slots=True, kw_only=True)
class Draft:
    """What the documents say, before it is checked as a whole.

    ``assumed`` holds names by kind (``deviceClasses``, ``shardTypes``...) whose definitions have faults of
    their own: references to them are not wrong. ``sound`` is whether every document was read without a fault;
    where one was not, checks that a left-out part could turn wrong are not made.
    """

    name: str
    namespace: str
    main: Document
    catalogue: Catalogue
    cluster: Cluster = Cluster()
    policy: Policy = Policy()
    policy_document: Document
    shard_types: list[Located[ShardType]] = field(default_factory=list)
    nodes: list[Located[Node]] = field(default_factory=list)
    transformers: list[Located[Transformer]] = field(default_factory=list)
    models: list[Located[Model]] = field(default_factory=list)
    assumed: dict[str, set[str]] = field(default_factory=dict)
    sound: bool = True

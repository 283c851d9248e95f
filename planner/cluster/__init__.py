"""A Kubernetes cluster as plain dicts: the only home of the library ``kubernetes``.

It knows nothing of plans, models or shards. ``Kube`` reads and writes objects; ``Watcher`` keeps a copy of
one kind of them up to date; ``WorkQueue`` says what to look at next, and when; ``Election`` says whether
this process may write. The library brings the ways to log in, TLS and the pool of connections; its classes
for every kind are not used, because making 10,000 objects of them takes seconds.

What is pure (the store of a watcher, the queue, the decisions of an election) takes its clock as an argument.
"""

from planner.cluster.client import Kube, Listing
from planner.cluster.connection import connect
from planner.cluster.events import Recorder
from planner.cluster.lease import Election, LeaseTimes
from planner.cluster.objects import Key, Object, key_of
from planner.cluster.queue import WorkQueue
from planner.cluster.resources import Resource
from planner.cluster.store import Change, Store
from planner.cluster.watching import Watcher

__all__ = [
    "Change",
    "Election",
    "Key",
    "Kube",
    "LeaseTimes",
    "Listing",
    "Object",
    "Recorder",
    "Resource",
    "Store",
    "Watcher",
    "WorkQueue",
    "connect",
    "key_of",
]

"""The pods of a plan on this machine, brought to what manifests say, and stopped together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

from planner.errors import ShardpackError
from planner.rehearsal.manifest_reader import PodSpec
from planner.rehearsal.pods import Pod, start_pod
from planner.rehearsal.triton_files import TritonHome


@dataclass(slots=True, kw_only=True)
class Cluster:
    """Pods by the name of their shard.

    Parameters
    ----------
    folder
        Holds a folder for each pod.
    home
        The installed server.
    broken_off
        Set when ``apply`` is broken off, for those who wait on other threads.
    """

    folder: Path
    home: TritonHome
    broken_off: Event = field(default_factory=Event)
    pods: dict[str, Pod] = field(default_factory=dict)

    def apply(
        self,
        specs: Mapping[str, PodSpec],
        *,
        gpus: Callable[[str], Mapping[str, str] | None],
        then: Callable[[Pod], None] = lambda _pod: None,
    ) -> dict[str, ShardpackError]:
        """Bring the pods to what manifests say, as controllers and kubelets would.

        Pods whose manifests are gone are stopped, those whose documents changed see the new ones at once,
        those whose template changed are replaced, and the others start.

        Parameters
        ----------
        specs
            What the manifests say of each pod.
        gpus
            Returns the environment of a pod's simulated GPUs, None for a pod without; asked when it starts.
        then
            Called for each pod that is there, on a thread of its own, as soon as it has been started or has
            seen its documents.

        Returns
        -------
        dict[str, ShardpackError]
            Why pods are not there, or what ``then`` raised.
        """
        self.stop(name for name, pod in list(self.pods.items()) if not _may_stay(pod.spec, specs.get(name)))
        for name, pod in self.pods.items():
            if pod.spec != specs[name]:
                pod.mount(specs[name])
        failed: dict[str, ShardpackError] = {}
        with ThreadPoolExecutor(max(1, len(specs))) as threads:
            try:
                under_way = {name: threads.submit(then, pod) for name, pod in self.pods.items()}
                # One after the other, and here: a start is work for the cores, and Ctrl-C must end it.
                for name in sorted(set(specs) - set(self.pods)):
                    try:
                        self.pods[name] = self._start(specs[name], gpus(name))
                    except ShardpackError as error:
                        failed[name] = error
                    else:
                        under_way[name] = threads.submit(then, self.pods[name])
                failed |= _faults(under_way)
            except BaseException:
                self.broken_off.set()
                raise
        return failed

    def _start(self, spec: PodSpec, gpus: Mapping[str, str] | None) -> Pod:
        return start_pod(spec, folder=self.folder / spec.shard, home=self.home, gpus=gpus)

    def stop(self, names: Iterable[str] | None = None) -> None:
        """Stop some pods, or all, at the same time; one that does not want to holds up no other."""
        gone = [self.pods.pop(name) for name in list(self.pods if names is None else names)]
        if gone:
            with ThreadPoolExecutor(len(gone)) as threads:
                stopped = [threads.submit(pod.stop) for pod in gone]
            for one in stopped:
                one.result()


def _may_stay(now: PodSpec, wanted: PodSpec | None) -> bool:
    """Whether a pod goes on under new manifests: its documents may change, its template may not."""
    return wanted is not None and replace(now, files={}) == replace(wanted, files={})


def _faults(under_way: Mapping[str, Future[None]]) -> dict[str, ShardpackError]:
    """Wait, and return the failures of pods; what is no failure of a pod is raised."""
    found: dict[str, ShardpackError] = {}
    for name, done in under_way.items():
        try:
            done.result()
        except ShardpackError as error:
            found[name] = error
    return found

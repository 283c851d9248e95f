"""Shardpack's planner: from a scenario to a verified plan, its manifests and its explanation.

Charter: everything here but reading files, asking NVML and starting a rehearsal's servers is a pure
function of its inputs and a seed. ``planner.domain.verify`` is the specification; no plan is shown
that it rejects.
"""

__version__ = "0.1.0"

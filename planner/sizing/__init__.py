"""From demand to what must be placed, and what the cluster's limits make of it.

Pure arithmetic on domain values: no I/O, no solver.
"""

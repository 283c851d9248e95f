"""From a scenario to a verified plan: bounds, heuristics, search and why something is refused.

``problem`` turns the domain into arrays and is the only place that rounds and orders. ``packing`` is the
state that every search changes, legal at every moment. ``relaxation``, ``exact`` and ``bounds`` say what no
plan can beat; ``construct`` builds and ``core`` improves in compiled loops (``filling`` and ``improve`` where
shards are on nodes or hold dozens), ``exact.assign`` searches the whole of a small scenario and proves it.
``keeping`` stays close to an earlier plan, ``balance`` evens out, ``watch`` stops by the clock.
``portfolio.make_plan`` wires everything and returns nothing that ``domain.verify`` rejects. ortools is
imported in ``exact`` alone.
"""

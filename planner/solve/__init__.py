"""From a scenario to a verified plan: bounds, heuristics, exact search, reasons for what is refused.

``problem`` turns the domain into arrays and is the only place that rounds and orders; ``packing`` is the
state that all searches change, legal at every moment; ``portfolio.make_plan`` wires everything and returns nothing
that ``domain.verify`` rejects. ortools is imported in ``exact`` alone.
"""

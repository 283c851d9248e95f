"""What a scenario and a plan are, and the rules between them: frozen data, no I/O, no solver.

``verify`` is the specification: a rule is written there first. ``memory`` is the memory model that
everything else refers to. Containers are tuples, memory is ``int`` bytes, shares are ``int`` milli-units,
ratios are parts per million (``_ppm``) and money is micro-USD (``_microusd``); absence is None.
"""

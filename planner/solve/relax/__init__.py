"""What would have to change for what was refused: the request is relaxed, as little as possible.

``levers`` says what of a scenario may be relaxed and how far, from ``limits``, ``machines`` and ``promises``;
``trials`` solves a relaxed scenario, ``search`` looks for the fewest and smallest changes. (The module
``relaxation`` is another thing: the fluid problem of the bounds.)
"""

"""Placing models one by one into a living plan: nothing moves, and a place is found in microseconds.

``arrays`` is what the compiled loops of ``choosing`` see; ``mix``, ``asks`` and ``book`` make them from the
domain; ``placer`` places and removes; ``reasons`` says why nothing fits, ``room`` what still does.
"""

"""The compiled part of the search: flat arrays, and loops over them that place, fill, exchange and dissolve.

``tables`` holds what does not change, ``state`` the open shards and who is on them, with every rule of
``domain.verify`` that a simple unit meets; ``exchange`` and ``fill`` improve and build one shard, ``search``
the fleet. ``bridge`` is the way from and to ``Packing``, and the only module of these that knows it.
"""

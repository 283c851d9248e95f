"""Changing a placement that is in force with few moves: repair overload, save cost, even out.

A *move* is a replica that both placements hold, but not alike: on another shard, another device or under
another option. ``sites`` turns a scenario and a placement into flat arrays in which a shard may be over its
room, which a ``Packing`` never is; ``room`` keeps their books, ``leavers`` says how few residents of a shard
have to go (the bound) and which, ``relief`` finds them seats. ``saving`` empties shards, ``evening`` takes
load off the fullest. ``fewest`` answers the same question in one dimension with a least load as well: by a
search (``tabu``), bounds (``windows``; by prices: ``market``, ``prices``) and the choices that are left
(``choices``).
All loops are compiled; ``repair`` and its neighbours in ``plans`` are what the rest of the solver calls.
"""

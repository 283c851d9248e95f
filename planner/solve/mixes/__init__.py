"""Mixes: how many shards of each type. Which of them can hold everything at all, and whether one does.

Few numbers say what a plan costs. ``cuts`` finds the cheapest mix that the relaxation does not refute, in
whole shards, which is a bound; ``ejection`` puts everything into the shards of a given mix, ``annealing``
where there are hundreds of units, and ``trading`` what that leaves; ``search`` asks for one cheaper mix after
the other, ``walk`` for those near the best one.
"""

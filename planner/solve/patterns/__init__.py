"""Plans out of patterns: sets of units that fit together on one shard, found by column generation.

The least cost of patterns that cover every unit is the configuration bound (Gilmore and Gomory 1961); a dive
into that linear program, re-priced after every step, is a plan.
"""

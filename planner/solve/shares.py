"""Who gets how much of a search's work and time, and from which size on; all measured on idle cores."""

from __future__ import annotations

ASSIGNED_UNITS = 200
"""Units up to which CP-SAT is asked for the whole assignment; ``assign`` refuses what is too large for it."""

PATIENCE = 150
"""Rounds in a row that find nothing better before a search gives up."""

PLACING_ROUNDS = 4
"""Rounds that look for room for what is left out, a unit of work; one takes some thousandths of a second."""

LARGE_UNITS, LARGE_ROUNDS = 10_000, 40
"""Rounds of improvement at most, of about a second each, where that many units are not for compiled loops."""

MIXED_UNITS, MIXED_WORK, MIXED_DIVISOR = 4_000, 10_000_000, 10
"""Units up to which one cheaper mix of shards after the other is tried, the work with nothing said (some two
seconds; three of two cores where 1,000 units are annealed), and how much less it is where column generation
follows."""

WALKED_DIVISOR = 10
"""Walks over mixes leave little to find for the improvement: so much less work is spent after them."""

LEFT_OUT_RATIO = 1.6
"""Where not all fit there are no mixes to try, and CP-SAT alone says who is best left out: it gets so much
more of its time."""

MIX_TIME = 0.5
"""CP-SAT's deterministic time for one question for a mix, which takes thousandths."""

PATTERN_WORK, TOGETHER_WORK = 5.6, 7.0
"""What column generation may spend with the work of nothing said, in roughly the seconds of an idle core; and
what it, the improvement after it and CP-SAT may spend together, whatever the work: each has its own share of
less."""

IMPROVING_WORK = 0.1
"""What one unit of the improvement's work counts for, of theirs."""

PATTERNED_UNITS_A_SHARD = 16
"""Units in a shard, times the types that the relaxation uses, from which on column generation costs much and
finds little."""

PATTERNED_DIVISOR = 10
"""Column generation, where it finds anything, leaves little to find: so much less work is spent after it."""

IMPROVED_UNITS, IMPROVED_DIVISOR, APART_DIVISOR = 600, 4, 16
"""Above so many units some of the work is spent on improvement before column generation is asked, which might
leave nothing for it; and less of it where the fleet was improved in parts before."""

FINISHING_RATIO, FINISHING_S_A_UNIT = 3.5, 40e-6
"""Time that a plan takes after its search (refusals, hash, verification): in times that of reading the
scenario, measured 3.0 to 3.2 on 100,000 replicas, or seconds for each unit where reading takes none, as many
replicas of one model do. The larger counts."""

STARTING_S, STARTING_S_A_UNIT = 1.5, 20e-6
"""Seconds that a search takes, and each unit adds, until it first looks at the clock: libraries, machine code
and tables, measured 0.5 to 1.7 in all for 1,000 and 10,000 replicas on a busy machine."""

RELAXING_RATIO, RELAXING_S = 12.0, 2.0
"""Less time than this, in times that of reading or in seconds, is better spent on placing than on the
relaxation, which takes 5 to 7 of it, and most of a second until it starts."""

PRICING_S, PRICING_S_A_UNIT = 0.3, 160e-6
"""Seconds that prices without the engine take, and placing the units one by one after that: with less time
left, there are none."""

SCARCE_UNITS = 20_000
"""Units up to which limits of the whole plan are met in several ways, each as long as a construction."""

STAND_IN_RATIO, PARTS_RATIO = 0.6, 0.9
"""Of the time that is left: what scenarios that stand for the one that is asked may take, and its parts."""

PART_S, PART_S_A_UNIT = 0.3, 4e-3
"""Seconds that each part takes to be planned well by itself, and each unit adds; with less time it is better
planned as one."""

"""Models of other systems' objects: what their files say of a model, as our scenarios say it.

Each reader takes paths and gives models, shard types and notes. A fault is something that the file's own
system would refuse as well, or without which there is no model (its name, where its files are); all faults
are raised together. A note is something that the file says and a scenario does not: it is told, and the rest
is taken. Nothing is guessed: what nobody has stated stays away, unless the caller gave a default.
"""

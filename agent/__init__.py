"""The agent beside a model server: it reads what the server should hold and makes it so.

Charter: base dependencies only, never the planner; it starts in a fraction of a second. ``desired`` owns
the documents it reads, and is the one module that the planner imports; deciding (``actions``) is pure,
doing is thin.
"""

"""The exact engines: linear programs and CP-SAT. The only home of ortools.

ortools takes seconds to import; modules here are imported when a plan is made, never for ``--help``.
"""

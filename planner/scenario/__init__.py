"""Files to domain values and back: scenarios, catalogues, tables of models and plan files.

Charter: the only home of YAML and pydantic. ``load`` reads what people write, finds every fault of it with
its path and line, and returns a ``planner.domain.scenario.Scenario`` that needs no further checks; ``dump``
writes one back. ``plan_file`` writes and reads plans. Quantities become exact integers here and nowhere else.
Files are read below the scenario's own folder only, and written whole or not at all (``files``).
"""

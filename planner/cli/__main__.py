"""``python -m planner.cli`` is ``shardpack``."""

from planner.cli import main

main()

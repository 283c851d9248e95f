"""The world as a fleet: what machines say of themselves, as domain values and as a part of a scenario.

``nvml`` asks this machine's NVIDIA driver; ``document`` writes what was found as people would.
"""

from planner.inventory.document import inventory_document
from planner.inventory.nvml import Inventory, read_nvml

__all__ = ["Inventory", "inventory_document", "read_nvml"]

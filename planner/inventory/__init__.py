"""The world as a fleet: what machines say of themselves, as domain values and as a part of a scenario.

``nvml`` asks this machine's NVIDIA driver, ``kube`` a cluster's API server; ``document`` writes what was
found as people would.
"""

from planner.inventory.document import fleet_document, inventory_document
from planner.inventory.kube import KubeInventory, read_kube
from planner.inventory.nvml import Inventory, read_nvml

__all__ = ["Inventory", "KubeInventory", "fleet_document", "inventory_document", "read_kube", "read_nvml"]

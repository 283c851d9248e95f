"""Where models' files come from: a URI in, a model folder as a server expects it out.

``fetch`` is the door. ``bucket``, ``hub``, ``http`` and ``file`` read one kind of URI each; ``source`` is
what the first three have in common, a list of objects, which ``transfer`` brings to disk. ``archive`` and
``tape`` unpack what was not made by us, ``layout`` turns what came into a folder with numbered versions,
``contents`` keeps it by its hash, ``shared`` has what other agents have fetched, ``room`` watches the disk.
"""

from agent.storage.contents import Contents
from agent.storage.fetch import Fetched, fetch
from agent.storage.file import check_apart, check_shared
from agent.storage.limits import Limits
from agent.storage.reach import Reach
from agent.storage.shared import SharedCache

__all__ = ["Contents", "Fetched", "Limits", "Reach", "SharedCache", "check_apart", "check_shared", "fetch"]

"""Where models' files come from: a URI in, a model folder as a server expects it out.

``fetch`` is the door; ``file`` and ``http`` read one kind of URI each, ``archive`` unpacks what was not made
by us, ``layout`` turns what came into a folder with numbered versions.
"""

from agent.storage.fetch import Fetched, fetch
from agent.storage.limits import Limits

__all__ = ["Fetched", "Limits", "fetch"]

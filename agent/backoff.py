"""How long to wait before another try."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential waits with jitter.

    Parameters
    ----------
    base_s
        The longest first wait.
    cap_s
        The longest wait of all.
    """

    base_s: float
    cap_s: float

    def wait_s(self, attempts: int, random: Random) -> float:
        """Return the wait after ``attempts`` failed tries (at least one), in seconds.

        Half of the wait is fixed and half is random ("equal jitter"): many agents that failed together do not
        come back together, and none comes back at once.
        """
        # 2^30 is beyond every cap; without the bound the power of a long failure would overflow a float.
        ceiling = min(self.cap_s, self.base_s * float(1 << min(max(attempts, 1) - 1, 30)))
        return ceiling * (0.5 + random.random() / 2)

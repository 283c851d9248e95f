"""How long to wait before another try."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential waits, in seconds: the first, and the longest of all."""

    first_s: float
    most_s: float

    def wait_s(self, failures: int, random: Random | None = None) -> float:
        """Return the wait after so many failures in a row, at least one.

        With ``random`` half of it is fixed and half is random: clients that failed together do not come
        back together, and none comes back at once.
        """
        # 2^30 is beyond every cap; without the bound a long failure would overflow a float.
        whole = min(self.most_s, self.first_s * float(1 << min(max(failures, 1) - 1, 30)))
        return whole if random is None else whole * (0.5 + random.random() / 2)

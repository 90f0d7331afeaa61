"""How long to wait before trying again."""

import random
from collections.abc import Callable


class Backoff:
    """Delays that double up to a longest one, each shortened by up to a half.

    The jitter keeps processes that failed together from coming back together.
    """

    def __init__(
        self, first_s: float = 1.0, longest_s: float = 60.0, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._uniform = uniform
        self._failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        # a power of a count that grows for weeks would overflow
        doubled = self._first_s * 2.0 ** min(self._failures, 60)
        self._failures += 1
        return min(self._longest_s, doubled) * self._uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked: the next delay is the first again."""
        self._failures = 0

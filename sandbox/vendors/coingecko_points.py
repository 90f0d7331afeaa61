"""CoinGecko's points: the last price, and the volume of the 24 hours before, at irregular moments."""

import numpy as np

from sandbox.tape.candles import NOTIONAL_DECIMALS, Candles, Interval
from sandbox.tape.crypto_pairs import Pair
from sandbox.timekeeping import DAY, MINUTE
from sandbox.vendors.feed import Feed

STEPS = {"5m": 5 * MINUTE, "hourly": 60 * MINUTE, "daily": DAY}
MILLISECOND = 1_000
LATEST = 97_003
"""How many milliseconds after its round time the latest point comes."""
SCATTER = 48_271
MINUTES = Interval("1m")
DAYS = Interval("1d")


class Points:
    """Prices and rolling volumes of a feed's pairs, made of finished minutes, or of days where there are no minutes."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def price(self, pair: Pair, at: int) -> float | None:
        """The last close by this instant; None before the first."""
        points = self._at(pair, np.array([at]))
        return float(points.close[0]) if len(points) else None

    def between(self, pair: Pair, begin: int, end: int, step: str, up_to_now: bool) -> Candles:
        """A point for each step from begin to end, as candles of equal prices whose notional is the 24 hours' volume.

        Points stand on round times only where the step is a day. up_to_now adds one at `end` itself.
        """
        bars = self._bars(pair)
        if not len(bars):
            return bars
        width = STEPS[step]
        # Nothing is known before the first bar, so no point needs to be made there.
        first = max(begin, int(bars.starts[0]))
        grid = np.arange(-(-first // width) * width, end + 1, width, dtype="int64")
        stamps = grid if step == "daily" else grid + grid // MILLISECOND * SCATTER % LATEST * MILLISECOND
        stamps = stamps[stamps <= end]
        if up_to_now and (not len(stamps) or stamps[-1] < end):
            stamps = np.append(stamps, end)
        return self._feed.shown(pair.symbol, "point", self._at(pair, stamps))

    def _at(self, pair: Pair, stamps: np.ndarray) -> Candles:
        bars = self._bars(pair)
        known = np.searchsorted(bars.ends, stamps, side="right")
        stamps, known = stamps[known > 0], known[known > 0]
        a_day_ago = np.searchsorted(bars.ends, stamps - DAY, side="right")
        scale = 10**NOTIONAL_DECIMALS
        running = np.concatenate([[0], np.cumsum(np.rint(bars.notional * scale).astype("int64"))])
        volumes = (running[known] - running[a_day_ago]) / scale
        return Candles(stamps, stamps, *(bars.close[known - 1],) * 4, volumes, volumes)

    def _bars(self, pair: Pair) -> Candles:
        minutes = self._feed.charts.finished(pair.symbol, MINUTES)
        return minutes if len(minutes) else self._feed.charts.finished(pair.symbol, DAYS)

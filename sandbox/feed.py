"""What one vendor shows of the tape: its candles at the clock, page by page."""

from sandbox.candles import Candles, Charts, Interval


class Feed:
    """The candles of one vendor."""

    def __init__(self, charts: Charts) -> None:
        self.charts = charts

    @property
    def now(self) -> int:
        return self.charts.now()

    def oldest(self, symbol: str, interval: Interval, first: int, last: int, limit: int | None) -> Candles:
        """The first `limit` candles that start from `first` to `last`, oldest first; None is all of them."""
        return self._all(symbol, interval, first, last).take(slice(limit))

    def newest(self, symbol: str, interval: Interval, first: int, last: int, limit: int) -> Candles:
        """The last `limit` candles that start from `first` to `last`, oldest first."""
        candles = self._all(symbol, interval, first, last)
        return candles.take(slice(max(0, len(candles) - limit), None))

    def shown(self, symbol: str, timeframe: str, candles: Candles) -> Candles:
        """These candles as the vendor shows them; `timeframe` names their kind."""
        return candles

    def _all(self, symbol: str, interval: Interval, first: int, last: int) -> Candles:
        return self.charts.candles(symbol, interval).between(first, last)

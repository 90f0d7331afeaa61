"""What one vendor shows of the tape: its candles at the clock, with its faults, page by page."""

from sandbox.faults.bars import BarFaults
from sandbox.faults.plan import NO_FAULTS, FaultPlan
from sandbox.tape.candles import Candles, Charts, Interval

SPARE = 16


class Feed:
    """The candles of one vendor. A page is cut after bars went missing, so it is full while more remain."""

    def __init__(self, charts: Charts, vendor: str, plan: FaultPlan = NO_FAULTS) -> None:
        self.charts = charts
        self.faults = BarFaults(plan, vendor, charts.now)

    @property
    def now(self) -> int:
        return self.charts.now()

    def oldest(self, symbol: str, interval: Interval, first: int, last: int, limit: int | None) -> Candles:
        """The first `limit` candles that start from `first` to `last`, oldest first; None is all of them."""
        return self._page(symbol, interval, first, last, limit, newest=False)

    def newest(self, symbol: str, interval: Interval, first: int, last: int, limit: int) -> Candles:
        """The last `limit` candles that start from `first` to `last`, oldest first."""
        return self._page(symbol, interval, first, last, limit, newest=True)

    def shown(self, symbol: str, timeframe: str, candles: Candles) -> Candles:
        """All these candles as the vendor shows them; `timeframe` names their kind."""
        return self.faults.scramble(symbol, timeframe, self.faults.distort(symbol, timeframe, candles))

    def _page(self, symbol: str, interval: Interval, first: int, last: int, limit: int | None, newest: bool) -> Candles:
        candles = self.charts.candles(symbol, interval).between(first, last)
        looked_at = len(candles) if limit is None else min(len(candles), limit + SPARE)
        while True:
            part = candles.take(slice(len(candles) - looked_at, None) if newest else slice(looked_at))
            page = self.faults.distort(symbol, interval.text, part)
            if looked_at == len(candles) or len(page) >= limit:
                break
            looked_at = min(2 * looked_at, len(candles))
        if limit is not None:
            page = page.take(slice(max(0, len(page) - limit), None) if newest else slice(limit))
        return self.faults.scramble(symbol, interval.text, page)

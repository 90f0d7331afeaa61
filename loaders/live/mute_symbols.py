"""Which symbols of a live connection are mute: their market trades, and the connection does not say so.

A stock may not trade for minutes, so silence alone is no sign. REST is: a bar that it has and the connection, which is
faster, should have sent long before.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta


class MuteSymbols:
    """What was heard of each symbol on one connection, against what is known of it over REST."""

    def __init__(self, patience: timedelta) -> None:
        """`patience` is how far REST may be ahead of the connection."""
        self._patience = patience
        self._heard: dict[str, datetime] = {}
        self._compared: dict[str, datetime] = {}

    def connected(self) -> None:
        """A new connection owes no bar that is known when it is first compared."""
        self._heard.clear()
        self._compared.clear()

    def heard(self, symbol: str, bar_start: datetime) -> None:
        """The connection has sent a bar."""
        self._heard[symbol] = max(bar_start, self._heard.get(symbol, bar_start))

    def behind(self, newest: Mapping[str, datetime]) -> dict[str, tuple[datetime, datetime]]:
        """Of the symbols whose newest known bar is too far ahead: the newest bar that was heard, and that bar.

        One that was heard since the last comparison is late and not mute.
        """
        for symbol, bar_start in newest.items():
            self._heard.setdefault(symbol, bar_start)
        before, self._compared = self._compared, dict(self._heard)
        return {
            symbol: (self._heard[symbol], bar_start)
            for symbol, bar_start in sorted(newest.items())
            if bar_start - self._heard[symbol] > self._patience and before.get(symbol) == self._heard[symbol]
        }

"""Orders and trades at Binance, which lists them per symbol only, each read on from what was known before."""

import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from execution.brokers import binance_wire as wire
from execution.brokers.binance_line import Line

Row = Mapping[str, Any]

_CALM_SECONDS = 60.0
_PAGE = 1_000
_REMEMBERED_MILLISECONDS = 2 * 86_400_000
_KINDS = ("orders", "trades")


class History:
    """What is known of each symbol. One that was read after nothing had moved for a minute is not read again.

    Every trade moves a balance and every open order locks one, so whoever sees balances knows what to `touch`. The
    minute is for lists that show a trade later than the balances do: it is not waited for where rows and balances were
    found to agree, because then none is missing. Whoever compares them says so by `agreed`.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        # by kind and symbol: when each row happened (milliseconds) and its number, oldest first
        self._known: dict[tuple[str, str], list[tuple[int, int]]] = {}
        # the same rows, from when on (milliseconds) they are all there, and when they were asked for
        self._kept: dict[tuple[str, str], tuple[int, float, list[Row]]] = {}
        self._moved_at: dict[str, float] = {}
        # by symbol: the move after which its rows explained the balances
        self._agreed: dict[str, float] = {}

    def touch(self, symbol: str) -> None:
        """Something may have happened in the symbol now."""
        self._moved_at[symbol] = time.monotonic()

    def is_kept(self, symbol: str, since: datetime | None) -> bool:
        """Whether none of the symbol's rows since then can be missing.

        They explained the balances, or were asked for long after the last move; and nothing has moved since.
        """
        moved_at, begin = self._moved_at.get(symbol, math.inf), _milliseconds(since)
        calm_at = moved_at if self._agreed.get(symbol) == moved_at else moved_at + _CALM_SECONDS
        kept = [self._kept.get((kind, symbol)) for kind in _KINDS]
        return all(known is not None and known[0] <= begin and known[1] > calm_at for known in kept)

    def agreed(self, symbol: str) -> None:
        """The newest rows explain the newest balances; nothing is said where it moved after they were asked for."""
        moved_at = self._moved_at.get(symbol, math.inf)
        kept = [self._kept.get((kind, symbol)) for kind in _KINDS]
        if all(known is not None and known[1] > moved_at for known in kept):
            self._agreed[symbol] = moved_at

    def rows(self, kind: str, symbol: str, since: datetime | None) -> list[Row]:
        """Orders or trades of a symbol since a moment, oldest first, read on from the newest one known before it."""
        number = "orderId" if kind == "orders" else "id"
        begin = _milliseconds(since)
        if self.is_kept(symbol, since):
            return _since(begin, self._kept[kind, symbol][2])
        before = [(at, known) for at, known in self._known.get((kind, symbol), []) if at < begin]
        first, asked_at = (before[-1][1] if before else 0), time.monotonic()
        rows = self._rows_from(kind, symbol, first)
        if before and (not rows or wire.row_id(rows[0], number)[1] != first):
            # the one that was known is gone: the exchange began anew, and so do its numbers
            rows = self._rows_from(kind, symbol, 0)
            before = []
        numbered = [wire.row_id(row, number) for row in rows]
        # numbers of a day more: whoever compares further back reads on from there, and not from the first row ever
        kept = [(at, known) for at, known in before[:-1] if at >= begin - _REMEMBERED_MILLISECONDS]
        self._known[kind, symbol] = [*kept, *numbered]
        self._kept[kind, symbol] = (begin, asked_at, rows)
        return _since(begin, rows)

    def _rows_from(self, kind: str, symbol: str, first: int) -> list[Row]:
        """All rows from a number on. Every page begins with the last row of the one before."""
        path, name = ("/allOrders", "orderId") if kind == "orders" else ("/myTrades", "fromId")
        number = "orderId" if kind == "orders" else "id"
        parse = wire.order_rows if kind == "orders" else wire.trade_rows
        ask = self._line.client.get_all_orders if kind == "orders" else self._line.client.get_my_trades
        rows: dict[int, Row] = {}
        while True:
            query = {"symbol": symbol, name: first, "limit": _PAGE}
            page = self._line.read(path, lambda query=query: ask(**query), parse)  # type: ignore[misc]  # a lambda with a default has no type
            known = len(rows)
            rows |= {wire.row_id(row, number)[1]: row for row in page}
            if len(page) < _PAGE or len(rows) == known:
                return [rows[one] for one in sorted(rows)]
            first = max(rows)


def _milliseconds(since: datetime | None) -> int:
    return -1 if since is None else int(since.timestamp() * 1_000)


def _since(begin: int, rows: Sequence[Row]) -> list[Row]:
    """The rows that happened, or changed, from a moment (milliseconds) on."""
    return [row for row in rows if max(row["time"], row.get("updateTime", 0)) >= begin]

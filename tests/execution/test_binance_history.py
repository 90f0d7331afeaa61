"""A calm symbol is not read again, and calm is what was read after nothing had moved for a minute."""

from datetime import UTC, datetime

import pytest

from execution.brokers import binance_history
from execution.brokers.binance_history import History
from warehouse.errors import Retry

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
MOMENT = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp() * 1_000)


class Exchange:
    """A line to an exchange that answers with its rows, or with a failure."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict]] = {"/allOrders": [], "/myTrades": []}
        self.is_down = False
        self.reads = 0
        self.client = self
        self.get_all_orders = self.get_my_trades = None

    def read(self, path: str, ask: object, parse: object) -> list[dict]:
        if self.is_down:
            raise Retry("503")
        self.reads += 1
        return self.rows[path]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(binance_history.time, "monotonic", lambda: now[0])
    return now


def test_a_read_that_failed_is_made_up_for(clock: list[float]) -> None:
    """A fill moves balances; the lists fail, or do not show it yet; a minute later nothing has moved again."""
    exchange = Exchange()
    history = History(exchange)

    def read() -> tuple[int, int]:
        orders, trades = (history.rows(kind, "BTCUSDT", SINCE) for kind in ("orders", "trades"))
        return len(orders), len(trades)

    history.touch("BTCUSDT")
    clock[0] += 61
    assert read() == (0, 0)
    history.touch("BTCUSDT")
    exchange.is_down = True
    with pytest.raises(Retry):
        read()
    exchange.is_down = False
    exchange.rows = {"/allOrders": [{"orderId": 1, "time": MOMENT, "updateTime": MOMENT}], "/myTrades": []}
    clock[0] += 1
    assert read() == (1, 0), "the exchange lists the trade later"
    exchange.rows["/myTrades"] = [{"id": 7, "time": MOMENT}]
    clock[0] += 61
    assert read() == (1, 1)
    reads = exchange.reads
    clock[0] += 600
    assert read() == (1, 1)
    assert exchange.reads == reads, "read after a calm minute, and never again"


def test_what_explained_the_balances_is_not_read_again_until_something_moves(clock: list[float]) -> None:
    exchange = Exchange()
    history = History(exchange)

    def read() -> int:
        for kind in ("orders", "trades"):
            history.rows(kind, "BTCUSDT", SINCE)
        return exchange.reads

    history.touch("BTCUSDT")
    clock[0] += 1
    assert read() == 2
    assert read() == 4, "nobody has compared them yet"
    history.agreed("BTCUSDT")
    assert history.is_kept("BTCUSDT", SINCE)
    assert read() == 4
    clock[0] += 1
    history.touch("BTCUSDT")
    history.agreed("BTCUSDT")
    assert not history.is_kept("BTCUSDT", SINCE), "it moved after its rows were asked for: they explain nothing"
    clock[0] += 1
    assert read() == 6

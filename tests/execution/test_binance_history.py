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


class Numbered(Exchange):
    """The same, read from a number on; it notes from which."""

    def __init__(self, rows: list[dict]) -> None:
        super().__init__()
        self.begun: list[int] = []

        def orders(*, symbol: str, orderId: int, limit: int) -> list[dict]:
            self.begun.append(orderId)
            return [row for row in rows if row["orderId"] >= orderId][:limit]

        self.get_all_orders = orders

    def read(self, path: str, ask, parse: object) -> list[dict]:
        return ask()


def test_who_looks_further_back_reads_on_from_there() -> None:
    """Ten minutes are looked at in calm, and a day where something is not as it was: not all that there ever was."""
    hour = 3_600_000
    rows = [{"orderId": 1 + number, "time": MOMENT + number * hour} for number in range(200)]
    exchange = Numbered(rows)
    history = History(exchange)

    def since(number: int) -> datetime:
        return datetime.fromtimestamp((MOMENT + number * hour) / 1_000, UTC)

    assert len(history.rows("orders", "BTCUSDT", since(190))) == 10
    history.touch("BTCUSDT")
    assert len(history.rows("orders", "BTCUSDT", since(198))) == 2
    history.touch("BTCUSDT")
    assert len(history.rows("orders", "BTCUSDT", since(175))) == 25
    history.touch("BTCUSDT")
    assert len(history.rows("orders", "BTCUSDT", since(199))) == 1
    assert exchange.begun == [0, 198, 175, 199]


def test_numbers_that_begin_anew_are_read_from_the_first() -> None:
    rows = [{"orderId": 100 + number, "time": MOMENT + number} for number in range(5)]
    exchange = Numbered(rows)
    history = History(exchange)
    late = datetime.fromtimestamp((MOMENT + 4) / 1_000, UTC)
    history.rows("orders", "BTCUSDT", late)
    rows[:] = [{"orderId": 1 + number, "time": MOMENT + 10 + number} for number in range(3)]
    history.touch("BTCUSDT")
    assert len(history.rows("orders", "BTCUSDT", late)) == 3
    history.touch("BTCUSDT")
    assert len(history.rows("orders", "BTCUSDT", SINCE)) == 3
    assert exchange.begun == [0, 103, 0, 0]

"""A small crypto market for the tests: two pairs around the clock, and the stand-in Binance on a real socket."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd

from execution.brokers.binance import BinanceBroker, BinanceKeys
from sandbox.server import Keys
from sandbox.tape import crypto_pairs
from sandbox.tape.files import Tape, load
from tests.execution.world import FINGERPRINT, KEY, SECRET, Exchange, Warehouse, rows
from warehouse.connection import connect

SPOT_KEY, SPOT_SECRET = "test-spot-key", "test-spot-secret"
FIRST = datetime(2012, 10, 1, tzinfo=UTC)
DAYS = 12
PAIRS = ("BTCUSDT", "ETHUSDT")
QUARTER = timedelta(minutes=15)


def price(symbol: str, at: datetime) -> float:
    """What the symbol costs in the quarter of an hour that holds this moment."""
    number = int((at - FIRST) / QUARTER)
    return round((12_000 if symbol == "BTCUSDT" else 400) * (1 + ((number * 37) % 101) / 1_000), 2)


def write_spot_tape(folder: Path) -> None:
    """One minute with trades in each quarter of an hour; prices in cents, volumes of five decimals."""
    moments = [FIRST + number * QUARTER for number in range(DAYS * 96)]
    rows = [(symbol, "1m", at, *(price(symbol, at),) * 4, 3.25901) for symbol in PAIRS for at in moments]
    names = ["symbol", "timeframe", "bar_start", "open", "high", "low", "close", "volume"]
    pd.DataFrame(rows, columns=names).to_parquet(folder / "bars.parquet")


def load_spot(folder: Path) -> tuple[Tape, tuple[crypto_pairs.Pair, ...]]:
    tape = load(folder)
    return tape, crypto_pairs.load(folder, tape)


class SpotExchange(Exchange):
    """The sandbox with the crypto tape; a broker of it is Binance's."""

    keys = Keys("polygon-key", KEY, SECRET, binance_key=SPOT_KEY, binance_secret=SPOT_SECRET)

    def broker(self, **options) -> BinanceBroker:  # type: ignore[override]
        """Log in through the unmodified SDK."""
        options.setdefault("late_arrival", timedelta(seconds=0.2))
        keys = options.pop("keys", BinanceKeys(SPOT_KEY, SPOT_SECRET))
        symbols = options.pop("symbols", PAIRS)
        return BinanceBroker(keys, self.spot_url, self.spot_socket_url, symbols, **options)

    @property
    def spot_url(self) -> str:
        return f"{self.url}/binance"

    @property
    def spot_socket_url(self) -> str:
        return f"{self.url.replace('http', 'ws', 1)}/binance/ws-api/v3"

    def spot(self) -> dict:
        """Everything that really happened."""
        return self.ask("/sandbox/spot")

    def set(self, **fields: object) -> None:
        """How the stand-in behaves from now on, see `sandbox.broker.spot_desk`."""
        self.act("spot", **fields)

    def faults(self, seed: int = 0, **rates: float) -> None:
        self.ask("/sandbox/orders", {"seed": seed, "rates": rates})

    def pass_days(self, days: int) -> None:
        now = datetime.fromisoformat(self.spot()["now"])
        self.advance(now + timedelta(days=days))

    def drop_streams(self) -> None:
        self.act("spot drop")

    def hand_trade(self, symbol: str, side: str, quantity: str, **more: str) -> dict:
        """An order that somebody else puts into the account, with the same keys."""
        client = self.broker()._client
        client.timestamp_offset = client.get_server_time()["serverTime"] - int(time.time() * 1_000)
        return client.create_order(**{"symbol": symbol, "side": side, "type": "MARKET", "quantity": quantity, **more})


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def units(book: dict, asset: str) -> Decimal:
    """What the account holds of an asset, locked or not."""
    held = [Decimal(row["free"]) + Decimal(row["locked"]) for row in book["balances"] if row["asset"] == asset]
    return sum(held, Decimal(0))


def spot_exchange(folder: Path, state: Path, start: datetime = FIRST + timedelta(days=2, minutes=1)) -> SpotExchange:
    """The stand-in with the tape of this folder; its clock stands a minute after the second day's end."""
    tape, pairs = load_spot(folder)
    return SpotExchange(tape, state / "book.sqlite", start, pairs)


class SpotWarehouse(Warehouse):
    """The relations that execution reads, for the pairs: bars of one timeframe, around the clock."""

    def __init__(self, timeframe: str = "1d") -> None:
        super().__init__()
        self.timeframe = timeframe
        self.length = timedelta(hours=4) if timeframe == "4h" else timedelta(days=1)
        with connect("transformer") as connection:
            for relation in ("canonical.ohlcv_", "features.features_", "features.freshness_"):
                connection.execute(f"create table if not exists {relation}{timeframe} (like {relation}1d)")
                connection.execute(f"truncate {relation}{timeframe}")
            for symbol in PAIRS:
                connection.execute("insert into reference.instruments values (%s, 'crypto', '24x7')", (symbol,))
                connection.execute(
                    f"insert into features.freshness_{timeframe} values (%s, %s, null, null, null)", (symbol, timeframe)
                )
            for name in ("signal", "noise"):
                connection.execute("insert into features.catalog values (%s, %s, %s)", (name, timeframe, FINGERPRINT))
        with connect("loader") as connection, connection.cursor() as cursor:
            cursor.executemany(
                "insert into reference.trading_sessions values ('24x7', %s, %s, %s, %s) on conflict do nothing",
                [
                    (day.date(), day, day + timedelta(days=1), number)
                    for number in range(DAYS + 30)
                    if (day := FIRST + timedelta(days=number))
                ],
            )

    def close_bar(
        self, end: datetime, weights: Mapping[str, float], *, noise: Mapping[str, float] | None = None
    ) -> None:
        """The bars that end at this moment have closed: their canonical bars and feature rows appear."""
        start = end - self.length
        with connect("transformer") as connection:
            for symbol in PAIRS:
                last = Decimal(str(price(symbol, end - QUARTER)))
                connection.execute(
                    f"insert into canonical.ohlcv_{self.timeframe} values (%s, %s, %s, %s)", (symbol, start, end, last)
                )
                connection.execute(
                    f"insert into features.features_{self.timeframe} values (%s, %s, true, %s, %s)",
                    (symbol, start, weights.get(symbol, 0.0), 1 / 3 if noise is None else noise.get(symbol, 0.0)),
                )


def assert_spot_agrees(book: dict, assets: Sequence[str] = ("BTC", "ETH", "BNB")) -> None:
    """Every order, trade, fee, unit and satoshi is the same in the stand-in and in the ledger."""
    account = f"binance-{book['uid']}"
    orders = rows(
        "select client_order_id, broker_order_id, side, quantity, status, filled_quantity"
        " from ledger.orders where account_id = %s and status not in ('not_sent', 'rejected')"
        " and written_at >= ledger.epoch_start(account_id)",
        account,
    )
    statuses = {"NEW": "accepted", "PARTIALLY_FILLED": "partially_filled"}
    assert {row[0]: row[1:] for row in orders} == {
        order["clientOrderId"]: (
            f"{order['symbol']}:{order['orderId']}",
            order["side"].lower(),
            Decimal(order["origQty"]),
            statuses.get(order["status"], order["status"].lower()),
            Decimal(order["executedQty"]),
        )
        for order in book["orders"]
    }
    fills = rows(
        "select execution_id, side, quantity, price, fee, fee_asset from ledger.fills where account_id = %s"
        " and recorded_at >= ledger.epoch_start(account_id)",
        account,
    )
    assert sorted(fills) == sorted(
        (
            f"{trade['symbol']}:{trade['id']}",
            "buy" if trade["isBuyer"] else "sell",
            Decimal(trade["qty"]),
            Decimal(trade["price"]),
            Decimal(trade["commission"]),
            trade["commissionAsset"],
        )
        for trade in book["trades"]
    )
    assert rows("select cash from ledger.cash where account_id = %s", account) == [(units(book, "USDT"),)]
    positions = dict(rows("select symbol, quantity from ledger.positions where account_id = %s", account))
    held = {f"{asset}USDT": units(book, asset) for asset in assets}
    assert positions == {symbol: amount for symbol, amount in held.items() if amount}

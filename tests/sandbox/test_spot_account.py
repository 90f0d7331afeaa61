"""The stand-in's spot account adds up, whatever is asked of it, and refuses in the vendor's words."""

import sqlite3
from collections import defaultdict
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.broker.book import Book
from sandbox.broker.spot_account import OPENING, SpotAccount, SpotError
from sandbox.tape.crypto_pairs import Pair

PAIRS = tuple(
    Pair(f"{base}USDT", base, "USDT", base.lower(), base, 1.0, "eth", base, 2, decimals)
    for base, decimals in (("BTC", 5), ("ETH", 4))
)
ZERO = Decimal(0)


def _account(prices: dict[str, Decimal], book: Book | None = None) -> SpotAccount:
    return SpotAccount(PAIRS, prices.get, lambda: 1_700_000_000_000_000, book=book)


def _place(account: SpotAccount, number: int, **order) -> None:
    usual = {"symbol": "BTCUSDT", "side": "BUY", "kind": "MARKET", "quantity": Decimal("0.1"), "price": ZERO}
    account.place(**{**usual, **order}, time_in_force="GTC", client_id=f"o-{number}")


_ACTS = st.tuples(
    st.sampled_from(["BTCUSDT", "ETHUSDT"]),
    st.sampled_from(["BUY", "SELL"]),
    st.sampled_from(["MARKET", "LIMIT", "cancel", "move", "bnb"]),
    st.decimals(min_value="0.0001", max_value=2, places=4),
    st.decimals(min_value=50, max_value=20_000, places=2),
)


@given(st.lists(_ACTS, max_size=30))
def test_units_and_money_add_up_nothing_is_spent_twice_and_all_is_in_the_book(acts):
    prices = {"BTCUSDT": Decimal(10_000), "ETHUSDT": Decimal(400)}
    book = Book(None, 0)
    account = _account(prices, book)
    account.balances["BNB"].free = Decimal("0.01")
    for number, (symbol, side, kind, quantity, price) in enumerate(acts):
        try:
            if kind == "cancel" and account.orders:
                account.cancel(account.orders[number % len(account.orders)], f"c-{number}")
            elif kind == "move":
                prices[symbol] = price
                account.match()
            elif kind == "bnb":
                account.pays_in_bnb = not account.pays_in_bnb
            elif kind in ("MARKET", "LIMIT"):
                limit = price if kind == "LIMIT" else ZERO
                _place(account, number, symbol=symbol, side=side, kind=kind, quantity=quantity, price=limit)
        except SpotError:
            pass
        account.take_reports()
        again = _account(prices, book)
        assert (again.orders, again.trades, again.balances) == (account.orders, account.trades, account.balances)
    book.close()
    expected: dict[str, Decimal] = defaultdict(lambda: ZERO, {**OPENING, "BNB": Decimal("0.01")})
    for trade in account.trades:
        sign = 1 if trade.side == "BUY" else -1
        expected[trade.symbol.removesuffix("USDT")] += sign * trade.quantity
        expected["USDT"] -= sign * trade.quantity * trade.price
        expected[trade.fee_asset] -= trade.fee
    for asset, balance in account.balances.items():
        assert balance.free + balance.locked == expected[asset]
        assert balance.locked >= 0
    assert all(balance.locked == 0 for balance in account.balances.values()) or any(o.is_open for o in account.orders)
    for order in account.orders:
        assert order.filled == sum(
            (t.quantity for t in account.trades if (t.symbol, t.order) == (order.symbol, order.number)), ZERO
        )
        assert order.status in ("NEW", "FILLED", "CANCELED", "EXPIRED")


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"quantity": Decimal("0.000001")}, "Filter failure: LOT_SIZE"),
        ({"quantity": Decimal("0.0001")}, "Filter failure: NOTIONAL"),
        ({"quantity": Decimal(121)}, "Filter failure: MARKET_LOT_SIZE"),
        ({"kind": "LIMIT", "price": Decimal("100.001")}, "Filter failure: PRICE_FILTER"),
        ({"quantity": Decimal(2)}, "Account has insufficient balance for requested action."),
        ({"side": "SELL"}, "Account has insufficient balance for requested action."),
        ({"symbol": "ETHUSDT"}, "Market is closed."),
    ],
)
def test_it_refuses_in_the_vendors_words(order, words):
    account = _account({"BTCUSDT": Decimal(10_000)})
    with pytest.raises(SpotError, match=words):
        _place(account, 1, **order)
    assert account.orders == []


def test_an_id_is_free_again_when_its_order_has_ended():
    account = _account({"BTCUSDT": Decimal(10_000)})
    account.rests = True
    _place(account, 1)
    with pytest.raises(SpotError, match="Duplicate order sent"):
        _place(account, 1)
    account.cancel(account.orders[0], "c-1")
    _place(account, 1)
    assert [order.number for order in account.orders] == [1, 2]
    assert account.find("BTCUSDT", None, "o-1").number == 2


def test_numbers_go_on_after_a_restart_and_begin_anew_after_a_wipe(tmp_path: Path):
    prices = {"BTCUSDT": Decimal(10_000)}
    for number in (1, 2):
        with closing(Book(tmp_path / "book.sqlite", 0)) as book:
            account = _account(prices, book)
            _place(account, number)
            assert [(report.kind, report.order.number) for report in account.take_reports()] == [
                ("NEW", number),
                ("TRADE", number),
            ]
            assert [(trade.number, trade.is_maker) for trade in account.trades] == [
                (n + 1, False) for n in range(number)
            ]
    with closing(Book(tmp_path / "book.sqlite", 0)) as book:
        account = _account(prices, book)
        account.wipe()
        account.take_reports()
    with closing(Book(tmp_path / "book.sqlite", 0)) as book:
        account = _account(prices, book)
        assert (account.orders, account.trades, account.balances["USDT"].free) == ([], [], Decimal(10_000))
        _place(account, 3)
        assert [order.number for order in account.orders] == [1]


def test_a_book_from_before_there_was_a_spot_account_goes_on(tmp_path: Path):
    path = tmp_path / "book.sqlite"
    with closing(Book(path, 5)) as book:
        account_id = book.account_id
    with closing(sqlite3.connect(path)) as older:
        for table in ("spot_balances", "spot_orders", "spot_trades"):
            older.execute(f"drop table {table}")
        older.execute("pragma user_version = 2")
    with closing(Book(path, 9)) as book:
        assert (book.account_id, book.clock, book.balances()) == (account_id, 5, {})
        account = _account({"BTCUSDT": Decimal(10_000)}, book)
        _place(account, 1)
        account.take_reports()
    with closing(Book(path, 9)) as book:
        assert [order.status for order in book.spot_orders()] == ["FILLED"]

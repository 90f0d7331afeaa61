"""Binance's payloads: those of its documents, those of other people's bug reports, and whatever else may come."""

import hashlib
import hmac
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.adoption import moved_by
from execution.brokers import binance_wire as wire
from execution.brokers.base import SymbolTerms
from execution.orders import OrderStatus, Side
from execution.sizing import order_quantity
from sandbox.broker.binance_requests import Refused, SpotKeys

REPORT = {
    "e": "executionReport", "E": 1763652600460, "s": "BTCUSDT", "c": "ts-7f3a-0001", "S": "BUY", "o": "LIMIT",
    "f": "GTC", "q": "0.01000000", "p": "90000.00000000", "P": "0.00000000", "F": "0.00000000", "g": -1, "C": "",
    "x": "TRADE", "X": "PARTIALLY_FILLED", "r": "NONE", "i": 28, "l": "0.00400000", "z": "0.00400000",
    "L": "90000.00000000", "n": "0.00000400", "N": "BTC", "T": 1763652600458, "t": 57, "I": 900001, "w": True,
    "m": True, "M": True, "O": 1763652600456, "Z": "360.00000000", "Y": "360.00000000", "Q": "0.00000000",
    "W": 1763652600456, "V": "NONE",
}  # fmt: skip
TRADE = {
    "symbol": "BTCUSDT", "id": 57, "orderId": 28, "orderListId": -1, "price": "90000.00000000", "qty": "0.00400000",
    "quoteQty": "360.00000000", "commission": "0.00000400", "commissionAsset": "BTC", "time": 1763652600458,
    "isBuyer": True, "isMaker": True, "isBestMatch": True,
}  # fmt: skip


def _symbol_of(asset: str) -> str | None:
    return None if asset == "USDT" else f"{asset}USDT"


def test_a_trade_is_the_same_from_both_channels():
    update = wire.execution_report(REPORT, _symbol_of)
    assert update.fill == wire.fills([TRADE], _symbol_of)[0]
    assert update.fill.execution_id == "BTCUSDT:57"
    assert (update.order.broker_order_id, update.order.status) == ("BTCUSDT:28", OrderStatus.PARTIALLY_FILLED)
    assert [(moved.symbol, moved.quantity, moved.cash) for moved in moved_by(update.fill)] == [
        ("BTCUSDT", Decimal("0.004"), Decimal(-360)),
        ("BTCUSDT", Decimal("-0.000004"), 0),
    ]


def test_an_order_by_what_it_may_cost_has_no_quantity_of_its_own():
    """As GET /api/v3/order and allOrders answer for MARKET with quoteOrderQty: origQty is what was filled."""
    listed = {
        "symbol": "BTCUSDT", "orderId": 29, "orderListId": -1, "clientOrderId": "web_1", "price": "0.00000000",
        "origQty": "0.00109000", "executedQty": "0.00109000", "cummulativeQuoteQty": "99.49018600", "status": "FILLED",
        "timeInForce": "GTC", "type": "MARKET", "side": "BUY", "stopPrice": "0.00000000", "icebergQty": "0.00000000",
        "time": 1763652600456, "updateTime": 1763652600456, "isWorking": True, "workingTime": 1763652600456,
        "origQuoteOrderQty": "100.00000000", "selfTradePreventionMode": "NONE",
    }  # fmt: skip
    found = wire.order(listed)
    assert (found.quantity, found.notional, found.filled_quantity) == (None, Decimal(100), Decimal("0.00109"))
    assert found.detail == "FILLED, 99.490186 of 100 spent"
    report = REPORT | {"q": "0.00109000", "Q": "100.00000000", "Z": "99.49018600", "o": "MARKET", "X": "FILLED"}
    pushed = wire.execution_report(report, _symbol_of).order
    assert (pushed.quantity, pushed.notional, pushed.detail) == (None, Decimal(100), found.detail)
    assert wire.order(listed | {"origQuoteOrderQty": "0.00000000"}).quantity == Decimal("0.00109")


def test_a_cancel_names_the_order_and_not_itself():
    canceled = {
        **REPORT,
        "x": "CANCELED",
        "X": "CANCELED",
        "c": "web_1",
        "C": "ts-7f3a-0001",
        "N": None,
        "n": "0",
        "t": -1,
    }
    update = wire.execution_report(canceled, _symbol_of)
    assert (update.order.client_order_id, update.order.status, update.fill) == (
        "ts-7f3a-0001",
        OrderStatus.CANCELED,
        None,
    )


@pytest.mark.parametrize(
    ("stated", "status"),
    [
        ("NEW", OrderStatus.ACCEPTED),
        ("PENDING_NEW", OrderStatus.ACCEPTED),
        ("PENDING_CANCEL", OrderStatus.ACCEPTED),
        ("SOMETHING_NEW", OrderStatus.ACCEPTED),
        ("EXPIRED_IN_MATCH", OrderStatus.EXPIRED),
        ("REJECTED", OrderStatus.REJECTED),
    ],
)
def test_a_status_that_nobody_has_heard_of_ends_no_order(stated, status):
    told = {**REPORT, "x": "NEW", "X": stated, "z": "0.00000000", "N": None, "n": "0", "t": -1}
    assert wire.execution_report(told, _symbol_of).order.status is status


def test_a_sales_fee_is_taken_out_of_the_money():
    """freqtrade 606 and 1371: what the vendor's documents answer to a sale of 10, in three parts."""
    parts = [("4000", "1", "4"), ("3999", "5", "19.995"), ("3998", "4", "15.992")]
    rows = [
        {
            **TRADE,
            "id": number,
            "price": price,
            "qty": qty,
            "commission": fee,
            "commissionAsset": "USDT",
            "isBuyer": False,
        }
        for number, (price, qty, fee) in enumerate(parts)
    ]
    fills = wire.fills(rows, _symbol_of)
    assert [fill.cumulative_quantity for fill in fills] == [1, 6, 10]
    moved = [movement for fill in fills for movement in moved_by(fill)]
    assert sum(movement.quantity for movement in moved) == -10
    assert sum(movement.cash for movement in moved) == Decimal("39987") - Decimal("39.987")


@pytest.mark.parametrize(
    ("held", "step", "least", "closable"),
    [
        # freqtrade 4324: bought 51.30696933 DNT, sold 51, and the rest stayed for ever
        ("51.30696933", "1", "1", "51"),
        # freqtrade 3583: bought 1 LINK, the fee left 0.999, and selling that was refused: Invalid quantity
        ("0.999", "1", "1", "0"),
        # profit-trailer 361: 2 WTC less 0.002; 1 of them is worth less than any order may be
        ("1.998", "1", "2", "0"),
        # freqtrade 1084 and 4710: fees of other trades were taken out of the BNB that was bought to be traded
        ("2.33761", "0.01", "0.01", "2.33"),
        ("0.12332655", "0.00001", "0.00001", "0.12332"),
        ("0.00000345", "0.00001", "0.00001", "0"),
    ],
)
def test_what_a_fee_leaves_of_a_lot_is_not_sold(held, step, least, closable):
    terms = SymbolTerms(step=Decimal(step), min_quantity=Decimal(least))
    units = terms.closable(Decimal(held), Decimal(100))
    assert units == Decimal(closable)
    quantity = order_quantity(Decimal(0), Decimal(held), Decimal(step), closable=units)
    assert quantity == -Decimal(closable)


def test_what_is_worth_too_little_is_not_sold():
    terms = SymbolTerms(step=Decimal("0.00001"), min_notional=Decimal(5))
    assert terms.closable(Decimal("0.0005"), Decimal(9_000)) == 0
    assert terms.closable(Decimal("0.0005"), Decimal(10_000)) == Decimal("0.0005")


def test_what_is_worth_more_than_an_order_may_be_is_sold_in_parts():
    terms = SymbolTerms(step=Decimal("0.1"), max_notional=Decimal(1_000))
    assert terms.closable(Decimal(30), Decimal(70)) == Decimal("14.2")
    assert order_quantity(Decimal(0), Decimal(30), Decimal("0.1"), closable=Decimal("14.2")) == Decimal("-14.2")


FILTERS = [
    {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.00000000", "stepSize": "0.00001000"},
    {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "120.00000000", "stepSize": "0.00000000"},
]
NOTIONAL = {"filterType": "NOTIONAL", "minNotional": "5.00", "applyMinToMarket": True, "maxNotional": "9000000.00"}
SYMBOL = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}


@pytest.mark.parametrize(
    ("worth", "least", "most"),
    [
        ([NOTIONAL | {"applyMaxToMarket": False}], Decimal(5), None),
        ([NOTIONAL | {"applyMaxToMarket": True}], Decimal(5), Decimal(9_000_000)),
        ([NOTIONAL | {"applyMinToMarket": False}], None, None),
        ([{"filterType": "MIN_NOTIONAL", "minNotional": "10.0", "applyToMarket": True}], Decimal(10), None),
        ([{"filterType": "MIN_NOTIONAL", "minNotional": "10.0", "applyToMarket": False}], None, None),
        ([], None, None),
    ],
)
def test_filters_become_terms(worth, least, most):
    [listed] = wire.listed({"symbols": [SYMBOL | {"filters": [*FILTERS, *worth]}]})
    assert listed.terms == SymbolTerms(
        step=Decimal("0.00001"),
        min_quantity=Decimal("0.00001"),
        max_quantity=Decimal(120),
        min_notional=least,
        max_notional=most,
    )


@pytest.mark.parametrize("status", ["BREAK", "HALT", "CANCEL_ONLY", "END_OF_DAY", "AUCTION_MATCH"])
def test_a_status_other_than_trading_closes_a_symbol(status):
    [listed] = wire.listed({"symbols": [SYMBOL | {"status": status, "filters": FILTERS}]})
    assert listed.terms.closed_because == f"Binance says that BTCUSDT is {status}"


_ODD = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(max_value=-1), st.just("NaN"), st.just("Infinity"), st.just(""),
    st.just("1e"), st.lists(st.integers()), st.dictionaries(st.text(), st.integers()),
)  # fmt: skip


@given(st.sampled_from(["price", "qty", "commission", "id", "orderId", "time", "isBuyer", "symbol"]), _ODD)
def test_half_a_trade_is_no_trade(name, value):
    if (name == "isBuyer" and isinstance(value, bool)) or (name == "symbol" and isinstance(value, str) and value):
        return
    with pytest.raises(wire.BadPayload):
        wire.fills([{**TRADE, name: value}], _symbol_of)
    with pytest.raises(wire.BadPayload):
        wire.fills([{key: kept for key, kept in TRADE.items() if key != name}], _symbol_of)


@given(st.dictionaries(st.sampled_from([*REPORT]), _ODD | st.text()))
def test_a_report_is_read_whole_or_not_at_all(changes):
    try:
        update = wire.execution_report({**REPORT, **changes}, _symbol_of)
    except wire.BadPayload:
        return
    assert update.order.filled_quantity.is_finite()
    assert update.order.side in Side
    assert update.fill is None or (update.fill.quantity.is_finite() and update.fill.price.is_finite())


@given(
    st.decimals(min_value=0, max_value=1_000, places=8),
    st.sampled_from(["1", "0.1", "0.00001", "0.00000001"]),
    st.sampled_from([None, "0.0001", "5"]),
)
def test_what_can_be_closed_is_whole_and_no_more_than_there_is(held, step, most):
    terms = SymbolTerms(step=Decimal(step), max_quantity=None if most is None else Decimal(most))
    units = terms.closable(held, Decimal(7))
    assert 0 <= units <= held
    assert units % Decimal(step) == 0
    assert most is not None or held - units < Decimal(step)


def test_the_stand_in_checks_signatures_as_the_vendors_documents_do():
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    signed = (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    )
    keys = SpotKeys("vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A", secret)
    right = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    assert hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest() == right
    keys.check_signature(signed, right)
    keys.check_signature(signed, right.upper())
    with pytest.raises(Refused, match="not valid"):
        keys.check_signature(signed.replace("quantity=1", "quantity=2"), right)

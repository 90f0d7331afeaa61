"""The book adds up: dividends, splits and fees to the cent, whatever is ordered and however time is cut."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from alpaca.trading.enums import OrderSide, OrderStatus, TimeInForce
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

from sandbox.broker import fees
from tests.sandbox.stage import Served

BEFORE_ALL = "2012-11-19T12:00:00Z"


def buy(served: Served, symbol: str, qty: float) -> None:
    request = MarketOrderRequest(symbol=symbol, side=OrderSide.BUY, qty=qty, time_in_force=TimeInForce.DAY)
    served.alpaca.submit_order(request)


def test_the_account_begins_with_a_deposit(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, BEFORE_ALL)
    (deposit,) = served.alpaca.get("/account/activities")
    assert (deposit["activity_type"], deposit["net_amount"], deposit["date"]) == ("CSD", "100000", "2012-11-19")
    assert served.alpaca.get_account().cash == "100000"


def test_dividends_belong_to_the_holders_at_the_ex_date(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, "2012-11-21T22:00:00Z")
    buy(served, "FLAT", 10.5)
    served.advance("2012-11-26T13:00:00Z")  # the ex date has begun, its session has not
    assert served.activities("DIV") == []
    buy(served, "FLAT", 100)  # fills at the ex date's open: too late
    served.advance("2012-11-26T22:00:00Z")
    served.alpaca.close_position("FLAT")
    served.advance("2012-11-28T05:00:00Z")  # the pay date begins
    (dividend,) = served.alpaca.get("/account/activities/DIV")
    assert dividend["net_amount"] == "2.63"  # 10.5 · 0.25, half a cent up
    assert (dividend["symbol"], dividend["qty"], dividend["per_share_amount"]) == ("FLAT", "10.5", "0.25")
    assert (dividend["date"], dividend["description"]) == ("2012-11-28", "dividend of FLAT, ex 2012-11-26")


def test_a_dividend_without_a_pay_date_is_paid_at_once(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, "2012-11-21T22:00:00Z")
    buy(served, "UP", 30)
    served.advance("2012-11-26T05:00:00Z")
    assert [row["net_amount"] for row in served.activities("DIV")] == ["3"]


def test_a_split_doubles_the_shares_and_cancels_what_was_ordered(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, "2012-11-23T22:00:00Z")
    buy(served, "UP", 30)
    served.advance("2012-11-26T22:00:00Z")
    cost = served.alpaca.get_open_position("UP").cost_basis
    waiting = served.alpaca.submit_order(
        LimitOrderRequest(symbol="UP", side="sell", qty=30, limit_price=300, time_in_force="gtc")
    )
    unharmed = served.alpaca.submit_order(
        LimitOrderRequest(symbol="FLAT", side="buy", qty=1, limit_price=1, time_in_force="gtc")
    )
    served.advance("2012-11-27T05:00:00Z")
    position = served.alpaca.get_open_position("UP")
    assert (position.qty, position.qty_available, position.cost_basis) == ("60", "60", cost)
    (split,) = served.alpaca.get("/account/activities/SPLIT")
    assert (split["qty"], split["net_amount"], split["description"]) == ("30", "0", "2 for 1 split of UP")
    assert served.alpaca.get_order_by_id(waiting.id).status == OrderStatus.CANCELED
    assert served.alpaca.get_order_by_id(unharmed.id).status == OrderStatus.ACCEPTED


@pytest.mark.parametrize(
    ("qty", "price", "fee"),
    [
        ("1", "1", "0.01"),  # whatever it is, a cent at least
        ("100", "98.77", "0.24"),  # 0.2212 + 0.0119
        ("1000", "50", "1.24"),  # 1.12 + 0.119, to the next cent
        ("1000000", "1", "28.35"),  # the activity fee stops at 5.95
    ],
)
def test_regulatory_fees(qty: str, price: str, fee: str) -> None:
    assert fees.regulatory(Decimal(qty), Decimal(price)) == Decimal(fee)


def test_activities_can_be_paged_both_ways(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, "2012-11-19T22:00:00Z")
    for symbol in ("UP", "FLAT", "UP", "FLAT", "UP"):
        buy(served, symbol, 1)
    served.advance("2012-11-20T22:00:00Z")
    for direction in ("asc", "desc"):
        seen, token = [], {}
        while page := served.alpaca.get("/account/activities", {"page_size": 2, "direction": direction, **token}):
            seen += [row["id"] for row in page]
            token = {"page_token": seen[-1]}
        expected = [row["id"] for row in served.book()["activities"]]
        assert seen == (expected if direction == "asc" else expected[::-1])
    fills = served.alpaca.get("/account/activities/FILL", {"direction": "asc"})
    assert [fill["symbol"] for fill in fills] == ["UP", "FLAT", "UP", "FLAT", "UP"]
    first = fills[0]
    assert (first["price"], first["qty"], first["side"], first["cum_qty"]) == ("101.0101", "1", "buy", "1")
    assert first["id"].startswith("20121120143000000::")
    assert served.alpaca.get("/account/activities", {"after": "2012-11-20T14:30:00Z"}) == []
    assert len(served.alpaca.get("/account/activities", {"after": "2012-11-19", "activity_types": "FILL,CSD"})) == 6


def test_clock_calendar_and_assets(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, "2012-11-21T22:00:00Z")
    clock = served.alpaca.get_clock()
    assert clock.is_open is False
    assert clock.next_open.isoformat() == "2012-11-23T09:30:00-05:00"
    assert clock.next_close.isoformat() == "2012-11-23T13:00:00-05:00"
    rows = served.alpaca.get("/calendar", {"start": "2012-11-21", "end": "2012-11-26"})
    assert [(row["date"], row["open"], row["close"]) for row in rows] == [
        ("2012-11-21", "09:30", "16:00"),
        ("2012-11-23", "09:30", "13:00"),
        ("2012-11-26", "09:30", "16:00"),
    ]
    assert [asset.symbol for asset in served.alpaca.get_all_assets()] == ["FLAT", "UP"]
    asset = served.alpaca.get_asset("UP")
    assert (asset.tradable, asset.shortable, asset.fractionable) == (True, False, True)
    assert served.alpaca.get_asset(str(asset.id)).symbol == "UP"


def test_the_clock_only_goes_forward_and_says_so(serve: Callable[..., Served], november: Path) -> None:
    served = serve(november, BEFORE_ALL)
    assert served.advance("2012-11-20T00:00:00.25Z") == {"now": "2012-11-20T00:00:00.25Z", "mode": "stepped"}
    back = served.advance("2012-11-19T00:00:00Z")
    assert back == {"error": "The clock stands at 2012-11-20T00:00:00.25Z and cannot go back to 2012-11-19T00:00:00Z."}
    assert "past the calendar" in served.advance("2112-11-19T00:00:00Z")["error"]
    for nonsense in ("yesterday", "2012-11-21", 5):
        assert "a moment with a UTC offset" in served.advance(nonsense)["error"]
    assert served.ask("/sandbox/clock")["now"] == "2012-11-20T00:00:00.25Z"

"""Alpaca's payloads as its documentation and recordings show them."""

from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from execution.brokers import alpaca_wire as wire
from execution.brokers.base import ActivityKind, Mode
from execution.orders import OrderStatus, Side

ORDER = {
    "id": "0b9c1f52-7a64-4c1d-8f0e-3d2a6b4c5e71",
    "client_order_id": "tb-7f3a",
    "submitted_at": "2026-11-20T15:30:00.123456789Z",
    "updated_at": "2026-11-20T10:30:00.25-05:00",
    "symbol": "AAPL",
    "notional": None,
    "qty": "10",
    "filled_qty": "0",
    "side": "buy",
    "status": "pending_new",
}
FILL = {
    "id": "20261120103000250::6e5d",
    "activity_type": "FILL",
    "transaction_time": "2026-11-20T15:30:00.250101Z",
    "type": "partial_fill",
    "price": "414.0001",
    "qty": "3",
    "side": "buy",
    "symbol": "AAPL",
    "leaves_qty": "3",
    "order_id": ORDER["id"],
    "cum_qty": "7",
    "order_status": "partially_filled",
}
ACCOUNT = {
    "id": "6f0c2a11",
    "status": "ACTIVE",
    "currency": "USD",
    "cash": "49910.12",
    "equity": "49910.12",
    "buying_power": "199640.50",
    "shorting_enabled": True,
    "trading_blocked": False,
    "account_blocked": False,
    "trade_suspended_by_user": False,
}


def test_an_order_keeps_its_digits_and_its_time():
    order = wire.order({**ORDER, "qty": "0.123456789", "filled_qty": "0.1", "status": "partially_filled"})
    assert (order.quantity, order.filled_quantity) == (Decimal("0.123456789"), Decimal("0.1"))
    assert order.updated_at == datetime(2026, 11, 20, 15, 30, 0, 250_000, tzinfo=UTC)
    assert wire.order_page([ORDER])[0][0] == datetime(2026, 11, 20, 15, 30, 0, 123_456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stated", "filled", "status"),
    [
        ("pending_new", "0", OrderStatus.ACCEPTED),
        ("done_for_day", "3", OrderStatus.PARTIALLY_FILLED),
        ("replaced", "0", OrderStatus.CANCELED),
        ("expired", "3", OrderStatus.EXPIRED),
        ("a_status_of_tomorrow", "0", OrderStatus.ACCEPTED),
    ],
)
def test_only_known_ends_end_an_order(stated, filled, status):
    assert wire.order({**ORDER, "status": stated, "filled_qty": filled}).status is status


def test_stream_and_activities_give_one_execution_one_id():
    pushed = {**ORDER, "status": "partially_filled", "filled_qty": "7.0"}
    message = {"event": "partial_fill", "execution_id": "7d1e", "order": pushed, "timestamp": "2026-11-20T15:30:00.25Z"}
    update = wire.trade_update({**message, "price": "414.0001", "qty": "3", "position_qty": "7"})
    booked = wire.fill(FILL)
    assert update.fill.execution_id == booked.execution_id
    assert (update.fill.quantity, update.fill.price, update.fill.side) == (3, Decimal("414.0001"), Side.BUY)
    assert (booked.quantity, booked.price, booked.cumulative_quantity) == (3, Decimal("414.0001"), 7)


def test_only_executions_carry_a_fill():
    message = {"event": "new", "execution_id": "7d1e", "order": ORDER, "timestamp": "2026-11-20T15:30:00Z"}
    assert wire.trade_update(message).fill is None


@pytest.mark.parametrize(
    ("row", "kind", "quantity", "cash"),
    [
        ({"activity_type": "CSD", "net_amount": "100000"}, ActivityKind.DEPOSIT, 0, "100000"),
        ({"activity_type": "JNLC", "net_amount": "-5"}, ActivityKind.WITHDRAWAL, 0, "-5"),
        ({"activity_type": "DIV", "net_amount": "1.02", "qty": "2", "symbol": "T"}, ActivityKind.DIVIDEND, 0, "1.02"),
        ({"activity_type": "DIVNRA", "net_amount": "-.15", "symbol": "T"}, ActivityKind.DIVIDEND, 0, "-0.15"),
        ({"activity_type": "FEE", "net_amount": "-0.03"}, ActivityKind.FEE, 0, "-0.03"),
        ({"activity_type": "SPLIT", "qty": "50", "symbol": "AAPL"}, ActivityKind.SPLIT, 50, "0"),
        ({"activity_type": "JNLS", "qty": "50", "symbol": "AAPL"}, ActivityKind.OTHER, 50, "0"),
        ({"activity_type": "SSP", "qty": "485", "symbol": "AAPL"}, ActivityKind.OTHER, 485, "0"),
        ({"activity_type": "CIL", "net_amount": "12.34", "symbol": "AAPL"}, ActivityKind.OTHER, 0, "12.34"),
        (
            {"activity_type": "CIL", "net_amount": "50.5", "qty": "-.5", "symbol": "A"},
            ActivityKind.OTHER,
            "-.5",
            "50.5",
        ),
        ({"activity_type": "INTNRA", "net_amount": "-1"}, ActivityKind.OTHER, 0, "-1"),
        ({"activity_type": "REORG", "qty": "-25", "symbol": "AAPL"}, ActivityKind.OTHER, -25, "0"),
        ({"activity_type": "MEM", "net_amount": "0"}, ActivityKind.OTHER, 0, "0"),
        ({"activity_type": "MEM"}, ActivityKind.OTHER, 0, "0"),
        ({"activity_type": "CFEE", "qty": "-0.00001", "symbol": "BTCUSD"}, ActivityKind.FEE, "-0.00001", "0"),
        ({"activity_type": "CGD", "qty": "7", "per_share_amount": "1", "net_amount": "7"}, ActivityKind.OTHER, 0, "7"),
        ({"activity_type": "FEE", "net_amount": -0.01}, ActivityKind.FEE, 0, "-0.01"),
        ({"activity_type": "FEE", "net_amount": 1e-9}, ActivityKind.FEE, 0, "0.000000001"),
        ({"activity_type": "FEE", "net_amount": -3}, ActivityKind.FEE, 0, "-3"),
    ],
)
def test_bookings_move_what_their_kind_moves(row, kind, quantity, cash):
    booked = wire.activity({"id": "1", "date": "2012-10-11", **row})
    assert (booked.kind, booked.quantity, booked.cash) == (kind, Decimal(quantity), Decimal(cash))
    assert booked.code == row["activity_type"]
    assert booked.happened_at == datetime(2012, 10, 11, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    "change",
    [
        {"net_amount": ""},
        {"net_amount": "NaN"},
        {"net_amount": True},
        {"net_amount": 0.1 + 0.2},
        {"net_amount": float("inf")},
        {"qty": "5", "symbol": None},
        {"date": None},
        {"date": ""},
        {"date": "yesterday"},
        {"activity_type": None},
    ],
)
def test_a_booking_that_cannot_be_read_is_named(change):
    row = {"id": "20121011::x", "activity_type": "FEE", "date": "2012-10-11", "net_amount": "-0.03", **change}
    with pytest.raises(wire.BadPayload, match="20121011::x"):
        wire.booking_page([row])


def test_a_blocked_account_says_why():
    assert wire.account(ACCOUNT, Mode.PAPER).blocked_because == ""
    blocked = wire.account({**ACCOUNT, "status": "ONBOARDING", "trading_blocked": True}, Mode.PAPER)
    assert blocked.blocked_because == "Alpaca says that the account's status is ONBOARDING and trading is blocked"


def test_an_account_for_paper_only_trades_on_paper():
    payload = {**ACCOUNT, "status": "PAPER_ONLY"}
    assert wire.account(payload, Mode.PAPER).blocked_because == ""
    assert "PAPER_ONLY" in wire.account(payload, Mode.LIVE).blocked_because


@pytest.mark.parametrize("name", ["trading_blocked", "status", "cash", "buying_power", "id"])
def test_an_account_without_a_field_is_no_account(name):
    payload = deepcopy(ACCOUNT)
    del payload[name]
    with pytest.raises(wire.BadPayload, match=name):
        wire.account(payload, Mode.PAPER)


@pytest.mark.parametrize(
    "change",
    [{"qty": 1.5}, {"qty": "NaN"}, {"filled_qty": None}, {"side": "hold"}, {"id": ""}, {"updated_at": "2026-11-20"}],
)
def test_a_malformed_order_is_not_half_read(change):
    with pytest.raises(wire.BadPayload):
        wire.order({**ORDER, **change})


@pytest.mark.parametrize("answer", [None, {}, "busy", [1], {"message": "busy"}])
def test_a_list_must_be_one(answer):
    with pytest.raises(wire.BadPayload):
        wire.positions(answer)

"""The stand-in's own book, which shares nothing with the ledger, against the ledger."""

from decimal import Decimal

from tests.execution.world import rows


def assert_agree(book: dict) -> None:
    """Every order, fill, position, booking and cent is the same on both sides."""
    account = book["account_id"]
    orders = rows(
        "select client_order_id, broker_order_id, side, quantity, status, filled_quantity"
        " from ledger.orders where account_id = %s and status not in ('not_sent', 'rejected')",
        account,
    )
    assert {row[0]: row[1:] for row in orders} == {
        order["client_order_id"]: (
            order["id"],
            order["side"],
            Decimal(order["qty"]),
            "accepted" if order["status"] == "new" else order["status"],
            Decimal(order["filled_qty"]),
        )
        for order in book["orders"]
    }
    fills = rows("select symbol, side, quantity, price from ledger.fills where account_id = %s", account)
    assert sorted(fills) == sorted(
        (fill["symbol"], fill["side"], Decimal(fill["qty"]), Decimal(fill["price"])) for fill in book["fills"]
    )
    positions = dict(rows("select symbol, quantity from ledger.positions where account_id = %s", account))
    assert positions == {held["symbol"]: Decimal(held["qty"]) for held in book["positions"] if Decimal(held["qty"])}
    assert rows("select cash from ledger.cash where account_id = %s", account) == [(Decimal(book["cash"]),)]
    booked = rows("select activity_id, cash from ledger.activities where account_id = %s", account)
    assert dict(booked) == {
        row["id"]: Decimal(row.get("net_amount", 0)) for row in book["activities"] if row["activity_type"] != "FILL"
    }

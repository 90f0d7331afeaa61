"""The stand-in's own book, which shares nothing with the ledger, against the ledger."""

from decimal import Decimal

from tests.execution.world import rows

# what the state of each order is by all that was written of it
_WORKED_OUT = """
select client_order_id, coalesce(newest.status, 'not_sent'), coalesce(newest.filled_quantity, 0),
    (select coalesce(sum(quantity), 0) from ledger.fills where fills.client_order_id = intents.client_order_id)
from ledger.intents
left join lateral (
    select status, filled_quantity from ledger.order_events
    where order_events.client_order_id = intents.client_order_id order by event_id desc limit 1
) as newest on true
where account_id = %s and verdict = 'approved'
"""


def assert_states_hold(account: str) -> None:
    """The state that is kept of each order is what its events and fills come to."""
    kept = rows(
        "select client_order_id, status, reported_quantity, filled_quantity from ledger.order_states"
        " where account_id = %s",
        account,
    )
    assert sorted(kept) == sorted(rows(_WORKED_OUT, account)), "a state is not what events and fills come to"


def assert_balances_hold(account: str) -> None:
    """The balances that are kept are what every booking of the account's epoch comes to."""
    wrong = rows("select symbol, kept, booked from ledger.wrong_balances where account_id = %s", account)
    assert wrong == [], "a balance is not what the bookings come to"


def assert_shares_hold(account: str) -> None:
    """Each model's share is what it was allotted, and together they are the position, on its side."""
    wrong = rows("select * from ledger.wrong_shares where account_id = %s", account)
    assert wrong == [], "a share is not what it should be"


def assert_agree(book: dict) -> None:
    """Every order, fill, position, booking and cent is the same on both sides."""
    account = book["account_id"]
    assert_states_hold(account)
    assert_balances_hold(account)
    assert_shares_hold(account)
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

"""Bookings as they are written into a ledger, for tests of what is kept of them."""

import psycopg

ACCOUNT = "insert into ledger.accounts (account_id, broker, mode) values (%s, 'b', 'paper')"
FILL = (
    "insert into ledger.fills (account_id, execution_id, client_order_id, symbol, side, quantity, price, filled_at,"
    " fee, fee_asset, fee_symbol) values (%s, %s, %s, %s, %s, %s, %s, '2020-01-02', %s, 'F', %s)"
)
ACTIVITY = (
    "insert into ledger.activities (account_id, activity_id, kind, symbol, quantity, cash, happened_at)"
    " values (%s, %s, 'other', %s, %s, %s, '2020-01-02')"
)
ADOPTION = (
    "insert into ledger.adoptions (account_id, finding, subject, statement, symbol, quantity, cash, reason)"
    " values (%s, 'PositionDiffers', 's', 's', %s, %s, %s, 'right')"
)
EPOCH = (
    "insert into ledger.epochs (account_id, epoch_no, broker_time, reason)"
    " select %(account)s, 1 + count(*), '2020-01-02', 'reset' from ledger.epochs where account_id = %(account)s"
)


def book(connection: psycopg.Connection, account: str, number: int, booking: tuple) -> None:
    """Write one booking; its `number` tells it from the others. A fill is of the account's order of symbol and side."""
    match booking:
        case ("fill", symbol, side, quantity, price, fee, fee_symbol):
            names = (account, f"E{number}", f"{account}{symbol}-{side}")
            connection.execute(FILL, (*names, symbol, side, quantity, price, fee, fee_symbol))
        case ("activity", symbol, quantity, cash):
            connection.execute(ACTIVITY, (account, f"A{number}", symbol, quantity, cash))
        case ("adoption", symbol, quantity, cash):
            connection.execute(ADOPTION, (account, symbol, quantity, cash))
        case ("epoch",):
            connection.execute(EPOCH, {"account": account})

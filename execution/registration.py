"""Registration: an account whose broker does not tell its history begins with what it holds.

Elsewhere the ledger books everything from the account's first deposit on. Here the first look begins an epoch with the
cash that is there. Positions are asked for: whether they are ours nobody but a person knows.
"""

from collections.abc import Sequence

from execution.brokers.base import Broker
from execution.ledger import Ledger
from execution.presence import Purpose
from execution.reconcile import oldest, trusted_clock
from warehouse.errors import Stop

_REASON = "registered: what the account did before is not ours"


def opened(broker: Broker, account_id: str, purpose: Purpose = Purpose.SESSION, models: Sequence[str] = ()) -> Ledger:
    """The account's ledger, for its only session; a new account is registered.

    Raises Occupied when another session has the account, Stop when a new account of a broker without a history holds
    anything but cash.
    """
    ledger = Ledger.open(account_id, broker.name, broker.mode, purpose, models)
    try:
        if not broker.customs.keeps_history and ledger.is_new():
            _register(broker, ledger)
    except BaseException:
        # Ctrl-C too: the account is let go of
        ledger.close()
        raise
    return ledger


def _register(broker: Broker, ledger: Ledger) -> None:
    clock = trusted_clock(broker, ledger)
    theirs = broker.snapshot(oldest(clock.now))
    held = [f"{position.quantity.normalize():f} {position.symbol}" for position in theirs.positions]
    if held:
        raise Stop(
            f"account {ledger.account_id} is new and holds {', '.join(held)}: say with "
            f"`python -m execution adopt --broker {broker.name} --reset --reason WHY` that this is ours to trade, and "
            "with --hold-apart SYMBOL what is not"
        )
    if open_orders := [order for order in theirs.orders if not order.status.is_terminal]:
        raise Stop(
            f"account {ledger.account_id} is new and has order {open_orders[0].broker_order_id} open: cancel it first"
        )
    ledger.begin_epoch(theirs, clock.now, _REASON, ())

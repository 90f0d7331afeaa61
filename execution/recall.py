"""Recall: ask the broker to cancel what is to be taken back. Needs no right to act for the account.

Anybody may do it at any time, beside a running session too: it writes why, and asks. What became of an order is for the
next reconciliation to record.
"""

from execution.brokers.base import Broker
from execution.ledger import Ledger
from execution.withdrawals import Withdrawal
from warehouse.errors import Retry, Stop


def recall(broker: Broker, ledger: Ledger) -> tuple[Withdrawal, ...]:
    """Ask for the cancellation of every order that is to be taken back; returns them.

    An order that somebody replaced at the broker is canceled by the id of the newest that followed it. One that has
    ended, or that the broker does not have, is left alone. All are tried: the first Retry or Stop is raised at the end.
    """
    due = ledger.withdrawals()
    failure: Retry | Stop | None = None
    for withdrawal in due:
        try:
            ledger.record_withdrawal(withdrawal)
            found = broker.find(withdrawal.order.client_order_id, withdrawal.order.symbol)
            if found is not None and not found.status.is_terminal:
                broker.cancel(found.continued_as[-1] if found.continued_as else found.broker_order_id)
        except (Retry, Stop) as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return due

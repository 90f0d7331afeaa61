"""Follow open orders to their end and compare the ledger with the broker."""

import logging
import time

from prefect import flow, task

from execution import registration
from execution.brokers.base import Broker, Mode
from execution.brokers.routing import BROKERS, log_in
from execution.lag import LAG
from execution.ledger import Ledger
from execution.presence import Occupied, Purpose
from execution.recall import recall
from execution.reconcile import look
from execution.reconcile import reconcile as compare
from flows.attention import NeedsAttention, say
from warehouse.connection import connect
from warehouse.errors import Retry, Stop

log = logging.getLogger("truebar")


_PAUSE_SECONDS = 10.0
_WORDS = {"agreed": "agree", "repaired": "were repaired"}


class Discrepancy(Stop):
    """Ledger and broker differ in a way that nothing explains; the account is halted."""


@task
def compare_with_broker(name: str) -> str:
    """The whole history, both sides; returns `agreed` or `repaired`. What may be lag is awaited for minutes.

    Beside a running session it compares and writes nothing. Raises Discrepancy with what differs, NeedsAttention when
    the account is halted or orders were refused, aged or ended short.
    """
    broker = log_in(name)
    try:
        account_id = broker.account().account_id
        with registration.opened(broker, account_id, Purpose.RECONCILE) as ledger:
            before = ledger.newest_event()
            result = compare(broker, ledger, "by hand", time.sleep)
            deadline = time.monotonic() + LAG.total_seconds()
            while result.outcome == "awaiting" and time.monotonic() < deadline:
                time.sleep(_PAUSE_SECONDS)
                result = compare(broker, ledger, "by hand", time.sleep)
            # a halt takes back what is open
            taken_back = recall(broker, ledger)
            concerns = ledger.concerns(before)
    except Occupied as busy:
        return _beside(broker, account_id, busy)
    finally:
        broker.close()
    for finding in (*result.findings, *taken_back):
        log.info("%s", finding)
    if result.outcome == "awaiting":
        raise NeedsAttention(f"account {account_id}: {'; '.join(map(str, result.findings))}; this may still be lag")
    if result.outcome == "discrepancy":
        raise Discrepancy(
            f"account {account_id} is halted, ledger and broker differ: {'; '.join(map(str, result.findings))}; "
            "`python -m execution adopt` books what is right, `python -m execution release` lets it trade again"
        )
    say(f"account {account_id}: ledger and broker {_WORDS[result.outcome]}", concerns)
    return result.outcome


def _beside(broker: Broker, account_id: str, busy: Occupied) -> str:
    """Look and write nothing: the process that has the account books what it finds, and halts the account itself."""
    with Ledger.view(account_id) as ledger:
        result = look(broker, ledger, "by hand", time.sleep)
        concerns = ledger.concerns(ledger.newest_event())
    differs = [f"ledger and broker differ: {finding}" for finding in result.comparison.discrepancies]
    say(f"{busy}; a look beside it: {result.outcome}", (*differs, *concerns))
    return result.outcome


@flow
def reconcile() -> str:
    """Compare orders, fills, positions and cash with each broker that traded on paper, and with Alpaca when none did.

    Fails when something is left unexplained; returns `repaired` when anything was.
    """
    outcomes, failure = [], None
    for broker in _traded_at():
        try:
            outcomes.append(compare_with_broker(broker))
        except (Retry, Stop) as error:
            # what one account lacks is not the other's affair
            failure = failure or error
    if failure is not None:
        raise failure
    return max(outcomes)


def _traded_at() -> list[str]:
    with connect("executor", read_only=True) as connection:
        rows = connection.execute(
            "select distinct broker from ledger.accounts where mode = %s order by broker", (Mode.PAPER,)
        ).fetchall()
    return [row[0] for row in rows] or [BROKERS[0]]

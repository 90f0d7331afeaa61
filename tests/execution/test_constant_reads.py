"""What a session asks of its ledger at every step reads what is new, open or newest, and not all that ever was."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from bench.ledger_history import write
from execution import status
from execution.brokers.base import AccountSnapshot, BrokerOrder, BrokerSnapshot, Fill
from execution.comparison import Comparison
from execution.ledger import Ledger
from execution.orders import Order, OrderStatus, Side
from execution.records import Decision, Intent, RefusedBar

pytestmark = pytest.mark.database

ACCOUNT, SYMBOLS, ORDERS = "reads", 4, 2_000
END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
NOW = END + timedelta(minutes=5)
PAIRS = [(f"m{number}", f"S{number}") for number in range(SYMBOLS)]
BARS = [(*pair, END) for pair in PAIRS]
LISTED = BrokerSnapshot(
    AccountSnapshot(ACCOUNT, Decimal(10**9), None, Decimal(10**9), shorting_enabled=True),
    END - timedelta(hours=5),
    (BrokerOrder("B", f"{ACCOUNT}-{ORDERS - 3}", "S1", Side.BUY, Decimal(1), OrderStatus.FILLED, Decimal(1), END),),
    (Fill("E", f"B{ACCOUNT}-{ORDERS - 3}", "S1", Side.BUY, Decimal(1), Decimal(100), END, Decimal(1)),),
)
# rows of the ledger that a step may look at: fewer than there are refusals, adoptions or bookings of the account
MOST = 190
# it adds up the orders of two days
MOST_OF_USAGE = 700
READ = """
select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::int
from pg_stat_xact_all_tables where schemaname = 'ledger'
"""


def _decide(ledger: Ledger) -> None:
    decision = Decision("newest", "m0", "S0", "1h", END, END, NOW, ("f",), (1.0,), 0.5, 0.1)
    ledger.write_ahead([decision], [Intent("newest", "newest", "S0", Side.BUY, Decimal(1), Decimal(100))])


def _fill(ledger: Ledger) -> None:
    _decide(ledger)
    order = Order("newest", "S0", Side.BUY, Decimal(1), OrderStatus.FILLED, "Bnew", Decimal(1))
    ledger.record_update(order, Fill("Enew", "Bnew", "S0", Side.BUY, Decimal(1), Decimal(100), NOW, Decimal(1)), NOW)


STEPS: dict[str, Callable[[Ledger], object]] = {
    "snapshot": lambda ledger: ledger.snapshot(LISTED, LISTED.since),
    "unsettled": lambda ledger: ledger.unsettled(),
    "given_up": lambda ledger: ledger.given_up(NOW - timedelta(hours=20)),
    "splits_since": lambda ledger: ledger.splits_since({"S0": END, "S1": END}),
    "apart": lambda ledger: ledger.apart(),
    "standing": lambda ledger: ledger.standing(),
    "concerns": lambda ledger: ledger.concerns(ledger.newest_event()),
    "withdrawals": lambda ledger: ledger.withdrawals(),
    "attempts": lambda ledger: ledger.attempts(BARS),
    "aimed_at": lambda ledger: ledger.aimed_at(BARS),
    "entries": lambda ledger: ledger.entries({pair: END for pair in PAIRS}),
    "left_behind": lambda ledger: ledger.left_behind(),
    "closings": lambda ledger: ledger.closings(1, "S0"),
    "closing_refused": lambda ledger: ledger.closing_refused("S0", NOW),
    "last_agreement": lambda ledger: ledger.last_agreement(),
    "mark": lambda ledger: ledger.mark(Decimal(5), NOW),
    "usage": lambda ledger: ledger.usage(NOW),
    "record_refusals": lambda ledger: ledger.record_refusals([RefusedBar("never", "S0", "1h", END, ("no",))], NOW),
    "write_ahead": _decide,
    "record_update": _fill,
    "status": lambda ledger: list(status.lines(ledger._connection, ACCOUNT)),
    "record_reconciliation": lambda ledger: ledger.record_reconciliation(Comparison(), "continuous", NOW, LISTED),
}


@pytest.fixture(scope="module")
def history(warehouse_db: Path) -> None:
    """Months of orders of two accounts; the second one's are nobody's business here."""
    with Ledger.view(ACCOUNT) as ledger:
        if ledger._connection.execute("select from ledger.accounts where account_id = %s", (ACCOUNT,)).fetchone():
            return
    write(f"{ACCOUNT} of another", ORDERS // 2, SYMBOLS, END)
    write(ACCOUNT, ORDERS, SYMBOLS, END)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_reads_little_of_a_long_history(history: None, step: str) -> None:
    with Ledger.view(ACCOUNT) as ledger:
        connection = ledger._connection
        # a history as short as this one would be read as a whole
        connection.execute("set enable_seqscan = off")
        with connection.transaction():
            before = _read(connection)
            STEPS[step](ledger)
            assert _read(connection) - before < (MOST_OF_USAGE if step == "usage" else MOST)
            raise psycopg.Rollback


def _read(connection: psycopg.Connection) -> int:
    row = connection.execute(READ).fetchone()
    assert row is not None
    return int(row[0])

"""Random schedules of faults: crashes between any two steps, lost and late requests, answers and pushed updates.

However the ten days go, in the end there is at most one order per symbol and day, no fill is lost or counted twice, and
the ledger agrees with what really happened to the cent.
"""

import uuid
from collections import Counter

import pytest

from execution import session as session_module
from execution.brokers.base import Customs
from execution.ledger import Ledger
from execution.orders import OrderStatus
from execution.session import Session
from tests.execution.treacherous import AT_ONCE, Crash, Fate, MemoryMarket, OneSignal, TreacherousBroker
from tests.execution.world import rows
from warehouse.errors import Retry

pytestmark = pytest.mark.database

DAYS = 10
_WRITES = ("write_ahead", "record_order", "record_update", "record_refusals", "record_reconciliation")


def _live_through(broker: TreacherousBroker, package: OneSignal) -> None:
    """Ten days; whenever the session dies or cannot go on, another one takes over at the same point of the day."""
    session: Session | None = None
    for _ in range(DAYS):
        for part in ("decide", "settle"):
            for _ in range(3):
                session = _attempt(session, part, broker, package)
            if part == "decide":
                broker.open_market()
        broker.close_market()
    if session is not None:
        session.close()


def _attempt(session: Session | None, part: str, broker: TreacherousBroker, package: OneSignal) -> Session | None:
    try:
        if session is None:
            session = Session.open([package], broker, pause=_no_pause)
        if part == "decide":
            session.decide()
        else:
            session.settle(timeout=0.02)
    except Crash:
        if session is not None:
            session.close()
        return None
    except Retry:
        pass
    return session


KINDS = {"keeps ids, fills at the open": Customs(), "frees ids, fills at once": AT_ONCE}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 1_000))])
def test_no_order_is_doubled_and_no_fill_is_lost(ledger_db, monkeypatch, seed, kind):
    fate = Fate(seed)
    broker = TreacherousBroker(fate, account_id=f"t-{uuid.uuid4()}", customs=KINDS[kind])
    package = OneSignal(f"signal-{seed}")
    monkeypatch.setattr(session_module, "Market", lambda: MemoryMarket(broker))
    for name in _WRITES:
        monkeypatch.setattr(Ledger, name, _mortal(getattr(Ledger, name), fate))

    _live_through(broker, package)
    fate.is_kind = True
    with Session.open([package], broker, pause=_no_pause) as session:
        assert session.settle(timeout=1) == ()
        final = session.reconcile()
    assert (final.outcome, final.findings) == ("agreed", ())
    assert broker.doubled == []

    account = broker.account_id
    assert rows("select reason from ledger.halts where account_id = %s", account) == []
    recorded = rows("select execution_id, quantity, price from ledger.fills where account_id = %s", account)
    assert sorted(recorded) == sorted((fill.execution_id, fill.quantity, fill.price) for fill in broker.fills)
    assert rows("select cash from ledger.cash where account_id = %s", account) == [(broker.cash,)]
    positions = dict(rows("select symbol, quantity from ledger.positions where account_id = %s", account))
    assert positions == {symbol: units for symbol, units in broker.held.items() if units}
    states = dict(rows("select client_order_id, status from ledger.orders where account_id = %s", account))
    sent = {name: status for name, status in states.items() if name in broker.orders}
    assert sent == {name: order.status for name, order in broker.orders.items()}
    assert {status for name, status in states.items() if name not in broker.orders} <= {
        OrderStatus.NOT_SENT,
        OrderStatus.REJECTED,
    }
    a_day = rows(
        "select symbol, bar_start, count(*) from ledger.intents join ledger.decisions using (decision_id, symbol)"
        " where intents.account_id = %s group by 1, 2",
        account,
    )
    assert Counter(count for _, _, count in a_day).keys() <= {1}
    assert broker.orders, "a schedule in which nothing traded shows nothing"


def test_an_order_that_is_still_open_keeps_its_symbol(ledger_db, monkeypatch):
    fate = Fate(0)
    fate.is_kind = True
    broker = TreacherousBroker(fate, account_id=f"t-{uuid.uuid4()}", day=2)
    monkeypatch.setattr(session_module, "Market", lambda: MemoryMarket(broker))
    with Session.open([OneSignal("signal")], broker, pause=_no_pause) as session:
        assert len(session.decide().sent) == 2
        broker.close_market()
        step = session.decide()
    assert (step.sent, step.decisions) == ((), ())
    assert [reason.split(":")[0] for bar in step.refused for reason in bar.reasons] == ["NoOrderInFlight"] * 2
    assert len(broker.orders) == 2


def _mortal(method, fate: Fate):
    """A ledger method around which the process may die: before its transaction, or after it was committed."""

    def call(self, *args, **kwargs):
        fate.maybe_crash()
        result = method(self, *args, **kwargs)
        fate.maybe_crash()
        return result

    return call


def _no_pause(_: float) -> None:
    pass

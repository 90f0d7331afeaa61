"""A reconciliation is a row of history when something changed; the account's pulse tells of every one."""

from datetime import UTC, datetime, timedelta

import pytest

from execution.__main__ import main
from execution.ledger import Ledger
from execution.session import Session
from tests.execution.world import AFTER_CLOSE, AFTER_OPEN, rows, trading_days
from warehouse.connection import connect

pytestmark = pytest.mark.database

DAYS = trading_days()
NOON = datetime(2020, 1, 2, 12, tzinfo=UTC)


def _history(account_id: str) -> list[str]:
    return [
        outcome
        for (outcome,) in rows(
            "select outcome from ledger.reconciliations where account_id = %s order by reconciliation_id", account_id
        )
    ]


def _times(account_id: str) -> int:
    return rows("select times_compared from ledger.reconciliation_pulse where account_id = %s", account_id)[0][0]


def test_what_repeats_is_counted_and_what_changed_is_a_row(exchange, warehouse, package, capsys):
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker()) as session, Ledger.view(session.account_id) as ledger:
        session.decide()
        session.reconcile()
        history, times = _history(session.account_id), _times(session.account_id)
        for minutes in range(1, 6):
            exchange.advance(DAYS[0].closes + AFTER_CLOSE + timedelta(minutes=minutes))
            agreed = session.reconcile()
            assert ledger.newest_broker_time() == ledger.last_agreement() == agreed.clock.now
        assert (_history(session.account_id), _times(session.account_id)) == (history, times + 5)
        capsys.readouterr()
        assert main(["status", "--account", session.account_id]) == 0
        assert f"reconciled   agreed at {agreed.clock.now:%F %R} UTC (by hand)" in capsys.readouterr().out

        # the fill moves cash and position, and the look after it agrees about other sums
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=5)
        session.reconcile()
        assert len(_history(session.account_id)) > len(history)
        last_agreement = ledger.last_agreement()

        exchange.trade(symbol="BETA", qty="1", side="buy", client_order_id="by-hand")
        for _ in range(3):
            assert session.reconcile().outcome == "discrepancy"
        assert _history(session.account_id).count("discrepancy") == 1
        assert ledger.last_agreement() == last_agreement
        outcome, compared = rows(
            "select outcome, compared -> 'positions' ->> 'ALPHA' from ledger.reconciliations where account_id = %s"
            " order by reconciliation_id desc limit 1",
            session.account_id,
        )[0]
        assert (outcome, compared) == ("discrepancy", "485")


@pytest.fixture
def ledger(ledger_db, request) -> Ledger:
    with connect("executor") as connection:
        connection.execute(
            "insert into ledger.accounts (account_id, broker, mode) values (%s, 'b', 'paper')", (request.node.name,)
        )
    with Ledger.view(request.node.name) as ledger:
        yield ledger


def _note(ledger: Ledger, minutes: int, outcome: str, findings: str = "[]") -> bool:
    with connect("executor") as connection:
        return connection.execute(
            "select ledger.note_reconciliation(%s, 'continuous', %s, %s, %s, '{}')",
            (ledger.account_id, NOON + timedelta(minutes=minutes), outcome, findings),
        ).fetchone()[0]


def test_what_awaits_does_so_since_its_first_look_whatever_it_finds_later(ledger):
    assert ledger.is_new()
    assert _note(ledger, 0, "agreed")
    assert not ledger.is_new()
    assert _note(ledger, 1, "awaiting", '["cash"]')
    assert not _note(ledger, 2, "awaiting", '["cash"]')
    assert _note(ledger, 3, "awaiting", '["cash", "ALPHA"]')
    assert ledger.awaiting_since() == NOON + timedelta(minutes=1)
    assert ledger.last_agreement() == NOON
    assert _note(ledger, 4, "agreed")
    assert ledger.awaiting_since() is None
    assert _note(ledger, 5, "awaiting", '["cash"]')
    assert ledger.awaiting_since() == NOON + timedelta(minutes=5)


def test_a_repair_is_a_row_each_time(ledger):
    assert [_note(ledger, minutes, "repaired", '["a fill"]') for minutes in range(3)] == [True, True, True]
    assert ledger.last_agreement() == NOON + timedelta(minutes=2)


def test_a_clock_that_jitters_does_not_walk_backwards(ledger):
    _note(ledger, 10, "agreed")
    for _ in range(3):
        with connect("executor") as connection:
            connection.execute(
                "select ledger.note_reconciliation(%s, 'continuous', %s, 'agreed', '[]', '{}')",
                (ledger.account_id, ledger.newest_broker_time() - timedelta(seconds=2)),
            )
    assert ledger.newest_broker_time() == ledger.last_agreement() == NOON + timedelta(minutes=10)


def test_what_agreed_before_an_epoch_agrees_no_more(ledger):
    _note(ledger, 0, "agreed")
    with connect("executor") as connection:
        connection.execute(
            "insert into ledger.epochs (account_id, epoch_no, broker_time, reason) values (%s, 1, %s, 'reset')",
            (ledger.account_id, NOON + timedelta(minutes=1)),
        )
    assert ledger.last_agreement() is None
    assert not _note(ledger, 2, "agreed")
    assert ledger.last_agreement() == NOON + timedelta(minutes=2)

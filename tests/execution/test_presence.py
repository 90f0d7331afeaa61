"""Beside a running session: what only reads is done, all else says in one sentence who runs and since when."""

import pytest

from execution.__main__ import main
from execution.presence import Occupied, Purpose, present
from execution.session import Session
from flows import paper_trade
from flows.attention import NeedsAttention
from flows.reconcile import compare_with_broker
from tests.execution.world import KEY, SECRET, SignalPackage, rows, trading_days
from warehouse.connection import connect

pytestmark = pytest.mark.database

DAYS = trading_days()
IN_USE = r"is in use by `trade` \(process \d+ on .+\) since 20\d\d-\d\d-\d\d \d\d:\d\d UTC: one session at a time"


@pytest.fixture
def session(exchange, warehouse, package, monkeypatch):
    """A session that goes on, with the settings that lead to its account."""
    for name, value in (("KEY_ID", KEY), ("SECRET_KEY", SECRET)):
        monkeypatch.setenv(f"APCA_API_{name}", value)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    session = Session.open([package], exchange.broker(), purpose=Purpose.TRADE)
    yield session
    session.close()


def _recorded(session) -> list[tuple]:
    return rows("select times_compared from ledger.reconciliation_pulse where account_id = %s", session.account_id)


def test_a_second_session_is_refused_in_one_sentence(exchange, session, package):
    with pytest.raises(Occupied, match=IN_USE) as refused:
        Session.open([package], exchange.broker())
    assert refused.value.presence.goes_on


def test_paper_trade_leaves_it_to_the_session_that_goes_on(session, package, caplog):
    caplog.set_level("INFO", "truebar")
    assert paper_trade.decide.fn([package], "alpaca") == 0
    assert "since" in caplog.text
    assert "it decides what has landed" in caplog.text
    assert len(session.decide().sent) == 1


def test_paper_trade_tells_which_model_the_session_that_goes_on_does_not_know(session, package):
    newcomer = SignalPackage(model_id="newcomer-00000001", symbols=("GAMMA",))
    with pytest.raises(NeedsAttention, match="nobody decides for model newcomer-00000001: start `trade`") as told:
        paper_trade.decide.fn([package, newcomer], "alpaca")
    assert f"decides for model {package.model_id}" not in str(told.value)


def test_paper_trade_waits_for_what_only_looks_after_the_account(exchange, session, package, monkeypatch):
    session.close()
    monkeypatch.setattr(paper_trade, "_PATIENCE_SECONDS", 0.0)
    with (
        Session.open([package], exchange.broker(), purpose=Purpose.RECONCILE) as other,
        pytest.raises(Occupied, match="in use by `reconcile`"),
    ):
        paper_trade.decide.fn([package], "alpaca")
    monkeypatch.setattr(paper_trade, "_PATIENCE_SECONDS", 60.0)
    held = Session.open([package], exchange.broker(), purpose=Purpose.RECONCILE)
    # it ends while it is waited for
    monkeypatch.setattr(paper_trade.time, "sleep", lambda _: held.close())
    assert paper_trade.decide.fn([package], "alpaca") == 1
    assert other.account_id == held.account_id


def test_reconcile_looks_and_books_nothing(exchange, session, capsys):
    before = _recorded(session)
    assert main(["reconcile"]) == 0
    shown = capsys.readouterr().out
    assert "in use by `trade`" in shown
    assert f"account {session.account_id}: agreed" in shown
    assert compare_with_broker.fn("alpaca") == "agreed"
    exchange.trade(symbol="BETA", side="buy", qty="1", client_order_id="by-hand")
    assert main(["reconcile"]) == 1
    assert "(BETA, client id by-hand) is not ours" in capsys.readouterr().out
    with pytest.raises(NeedsAttention, match=r"a look beside it: discrepancy; ledger and broker differ: .*is not ours"):
        compare_with_broker.fn("alpaca")
    assert _recorded(session) == before
    # to halt is the session's own act
    assert rows("select count(*) from ledger.halts where account_id = %s", session.account_id) == [(0,)]
    session.decide()
    assert rows("select action from ledger.halts where account_id = %s", session.account_id) == [("halt",)]


def test_what_writes_says_who_has_the_account(session, capsys):
    assert main(["adopt", "--all", "--reason", "x"]) == 2
    assert "in use by `trade`" in capsys.readouterr().err


def test_status_shows_who_acts_for_the_account(session, capsys):
    main(["status", "--account", session.account_id])
    assert "  in use       `trade` (process " in capsys.readouterr().out
    session.close()
    main(["status", "--account", session.account_id])
    assert "  in use       by nobody" in capsys.readouterr().out


def test_who_is_present_is_the_roles_own_affair(session):
    with connect("executor") as connection:
        assert present(connection, session.account_id).purpose == Purpose.TRADE
        assert present(connection, "another") is None

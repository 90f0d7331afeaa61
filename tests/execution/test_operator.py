"""python -m execution: what the operator sees and may do."""

import pytest

from execution.__main__ import main
from execution.session import Session
from tests.execution.world import AFTER_OPEN, KEY, SECRET, rows, trading_days

pytestmark = pytest.mark.database

DAYS = trading_days()


@pytest.fixture
def account(exchange, warehouse, package, monkeypatch) -> str:
    """An account that has bought for one day, with the settings that lead to it."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    monkeypatch.setenv("APCA_API_BASE_URL", exchange.url)
    monkeypatch.setenv("APCA_API_STREAM_URL", exchange.stream_url)
    warehouse.publish(DAYS[0], {"ALPHA": 0.5})
    with Session.open([package], exchange.broker()) as session:
        session.decide()
        exchange.advance(DAYS[1].opens + AFTER_OPEN)
        session.settle(timeout=10)
        return session.account_id


def test_status_shows_the_account(account, capsys):
    assert main(["status", "--account", account]) == 0
    shown = capsys.readouterr().out
    assert f"account {account} (alpaca, paper)" in shown
    assert "positions    ALPHA 4" in shown
    assert "in flight    none" in shown
    assert "(close)" in shown


def test_halt_and_release(account, capsys):
    assert main(["halt", "--account", account, "--reason", "lunch"]) == 0
    main(["status", "--account", account])
    assert "is HALTED: lunch" in capsys.readouterr().out
    assert main(["release", "--account", account, "--reason", "back"]) == 0
    main(["status", "--account", account])
    assert "HALTED" not in capsys.readouterr().out.splitlines()[-6]
    assert main(["release", "--account", account, "--reason", "again"]) == 2
    assert capsys.readouterr().err == f"execution: account {account} is not halted\n"


def test_reconcile_tells_what_it_found(exchange, account, capsys):
    assert main(["reconcile"]) == 0
    assert f"account {account}: agreed" in capsys.readouterr().out
    exchange.trade(symbol="BETA", side="buy", qty="1", client_order_id="by-hand")
    assert main(["reconcile"]) == 1
    assert "(BETA, client id by-hand) is not ours" in capsys.readouterr().out
    assert rows("select action from ledger.halts where account_id = %s", account) == [("halt",)]


def test_one_clear_sentence_for_a_wrong_account_and_missing_keys(account, capsys, monkeypatch):
    assert main(["halt", "--account", "nobody", "--reason", "x"]) == 2
    assert capsys.readouterr().err.startswith("execution: unknown account nobody: the ledger has ")
    monkeypatch.setenv("APCA_API_KEY_ID", "")
    assert main(["reconcile"]) == 2
    assert "set APCA_API_KEY_ID" in capsys.readouterr().err


def test_live_trading_says_in_one_sentence_what_it_lacks(exchange, account, warehouse, capsys):
    """A model in state live, and the vendor's own host with live keys: a stand-in is no place for live orders."""
    orders = exchange.book()["orders"]
    assert main(["trade", "--mode", "live"]) == 2
    assert capsys.readouterr().err == "execution: no model in state live trades at alpaca\n"
    for words in (["reconcile"], ["adopt", "--all", "--reason", "x"]):
        assert main([*words, "--mode", "live"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "api.alpaca.markets" in said
    assert exchange.book()["orders"] == orders

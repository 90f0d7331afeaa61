"""An instrument's asset class says who trades it, and the seed what it is called there."""

import pytest

from execution.brokers.named import NamedBroker
from execution.brokers.routing import asset_classes, broker_of, log_in
from tests.execution.spot import SPOT_KEY, SPOT_SECRET, SpotWarehouse, spot_exchange
from tests.execution.world import SignalPackage
from warehouse.errors import Stop

pytestmark = pytest.mark.database


@pytest.fixture
def market(ledger_db):
    return SpotWarehouse()


def test_models_go_to_the_broker_of_their_symbols(market):
    shares = SignalPackage(model_id="shares-1")
    coins = SignalPackage(model_id="coins-1", symbols=("BTCUSDT",))
    classes = asset_classes()
    assert [broker_of(package, classes) for package in (coins, shares)] == ["binance", "alpaca"]


@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        (("ALPHA", "BTCUSDT"), "model m-1 trades at alpaca and binance: an account is at one broker"),
        (("GAMMA",), "model m-1 trades GAMMA, which seeds/instruments.csv does not have"),
        (("GOLD",), "nobody trades metal: GOLD of model m-1 cannot be ordered"),
    ],
)
def test_what_nobody_can_trade_is_said(market, symbols, words):
    market.change("insert into reference.instruments values ('GOLD', 'metal', 'XNYS')")
    with pytest.raises(Stop, match=words):
        broker_of(SignalPackage(model_id="m-1", symbols=symbols), asset_classes())


def test_a_broker_is_opened_by_its_name_and_sees_our_instruments_under_its_names(
    market, spot_tape, tmp_path, monkeypatch
):
    exchange = spot_exchange(spot_tape, tmp_path)
    try:
        for name, value in (
            ("URL", exchange.spot_url),
            ("SOCKET_URL", exchange.spot_socket_url),
            ("KEY", SPOT_KEY),
            ("SECRET", SPOT_SECRET),
        ):
            monkeypatch.setenv(f"BINANCE_TRADING_{name}", value)
        market.change("update reference.instruments set symbol = 'BTC-USD' where symbol = 'BTCUSDT'")
        market.change("create table reference.broker_symbols (symbol text, broker text, broker_symbol text)")
        market.change("insert into reference.broker_symbols values ('BTC-USD', 'binance', 'BTCUSDT')")
        broker = log_in("binance")
        assert isinstance(broker, NamedBroker)
        exchange.hand_trade("BTCUSDT", "BUY", "0.01000")
        found = broker.snapshot(None)
        assert [position.symbol for position in found.positions] == ["BTC-USD"]
        assert [(fill.symbol, fill.fee_asset, fill.fee_symbol) for fill in found.fills] == [
            ("BTC-USD", "BTC", "BTC-USD")
        ]
        assert broker.terms(["BTC-USD"])["BTC-USD"].closed_because == ""
        broker.close()
    finally:
        market.change("drop table if exists reference.broker_symbols")
        exchange.stop()
    with pytest.raises(Stop, match="truebar knows no broker kraken"):
        log_in("kraken")

"""A panel's weights depend on one another: it waits for its last symbol or a deadline, and is ranked as a whole."""

from dataclasses import dataclass
from datetime import timedelta

import pandas as pd
import pyarrow
import pytest

from execution.session import Session
from models_registry.scoring import PositionSizing
from tests.execution.world import AFTER_CLOSE, SignalPackage, rows, trading_days

pytestmark = pytest.mark.database

DAY = trading_days()[0]
HALF = timedelta(minutes=30)


@dataclass(frozen=True)
class Ranked(SignalPackage):
    """Ranks its symbols by a feature, as the product's sizing does."""

    is_panel: bool = True
    top: int = 1

    def target_weights(self, features: pyarrow.Table) -> pd.DataFrame:
        read = features.to_pandas()
        sizing = PositionSizing(policy="top_bottom_k", top=self.top, max_weight=0.5)
        weights = sizing.weights(read["signal"].to_numpy(), len(self.symbols), bars=read["bar_start"].to_numpy())
        return read[["symbol", "bar_start"]].assign(score=read["signal"], weight=weights)


@pytest.fixture
def panel(warehouse):
    package = Ranked()
    warehouse.enter_state(package.model_id, "paper")
    # the symbol that comes last has rows of the day before
    before = DAY.opens - timedelta(days=3)
    for relation, values in (
        ("canonical.ohlcv_1d", (before, before + timedelta(hours=6.5), 40)),
        ("features.features_1d", (before, True, 0.0, 0.3)),
    ):
        places = ", ".join(["%s"] * len(values))
        warehouse.change(f"insert into {relation} values ('BETA', {places})", *values)
    return package


def _land(warehouse, symbol: str, signal: float) -> None:
    price = str(DAY.prices[symbol][1])
    warehouse.change("insert into canonical.ohlcv_1d values (%s, %s, %s, %s)", symbol, DAY.opens, DAY.closes, price)
    warehouse.change("insert into features.features_1d values (%s, %s, true, %s, 0.3)", symbol, DAY.opens, signal)


def _weights(session) -> list[tuple]:
    return rows(
        "select symbol, target_weight from ledger.decisions where account_id = %s order by 1", session.account_id
    )


def test_it_waits_for_its_last_symbol(exchange, warehouse, panel):
    _land(warehouse, "ALPHA", 0.1)
    with Session.open([panel], exchange.broker()) as session:
        step = session.decide(waits=True)
        assert step.decisions == ()
        said = {bar.symbol: (bar.reasons[0], bar.is_postponed) for bar in step.refused}
        assert said["ALPHA"] == ("PanelComplete: it waits for the bar of BETA", True)
        _land(warehouse, "BETA", 0.2)
        assert [order.symbol for order in session.decide(waits=True).sent] == ["BETA"]
        assert _weights(session) == [("ALPHA", 0.0), ("BETA", 0.5)]


def test_half_of_the_window_is_the_deadline_and_who_comes_later_is_ranked_among_all(exchange, warehouse, panel):
    _land(warehouse, "ALPHA", 0.3)
    with Session.open([panel], exchange.broker()) as session:
        exchange.advance(DAY.closes + HALF - timedelta(seconds=1))
        assert session.decide(waits=True).decisions == ()
        exchange.advance(DAY.closes + HALF)
        assert [order.symbol for order in session.decide(waits=True).sent] == ["ALPHA"]
        # alone it would be the best of one
        _land(warehouse, "BETA", 0.2)
        assert session.decide(waits=True).sent == ()
        assert _weights(session) == [("ALPHA", 0.5), ("BETA", 0.0)]


def test_a_session_that_ends_does_not_wait(exchange, warehouse, panel):
    _land(warehouse, "ALPHA", 0.1)
    assert DAY.closes + AFTER_CLOSE < DAY.closes + HALF
    with Session.open([panel], exchange.broker()) as session:
        assert [order.symbol for order in session.decide().sent] == ["ALPHA"]


def test_a_symbol_without_rows_is_not_waited_for(exchange, warehouse, panel):
    warehouse.change("delete from features.features_1d where symbol = 'BETA'")
    _land(warehouse, "ALPHA", 0.1)
    with Session.open([panel], exchange.broker()) as session:
        assert [order.symbol for order in session.decide(waits=True).sent] == ["ALPHA"]


def test_too_few_to_rank_is_no_decision_and_no_failure(exchange, warehouse, panel):
    _land(warehouse, "ALPHA", 0.1)
    with Session.open([Ranked(top=2)], exchange.broker()) as session:
        step = session.decide()
        assert (step.decisions, step.failures) == ((), ())
        [reason] = [bar.reasons[0] for bar in step.refused if bar.symbol == "ALPHA"]
        assert reason == "PanelComplete: only 1 of 2 symbols have this bar, too few to rank: no decision"


def test_who_was_not_traded_in_the_bar_is_not_ranked(exchange, warehouse, panel):
    _land(warehouse, "ALPHA", 0.1)
    _land(warehouse, "BETA", 0.2)
    warehouse.change("update canonical.ohlcv_1d set is_silent = true where symbol = 'BETA'")
    with Session.open([panel], exchange.broker()) as session:
        assert [order.symbol for order in session.decide(waits=True).sent] == ["ALPHA"]
